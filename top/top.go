// Package top shows instances and what is in their engines on the whole terminal, live.
//
// What is shown comes from the state files, so that it costs the engines nothing. Only logs
// and the use of processor and memory are asked of them, when the user wants to see those.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/docker-rd/docker-rd/board"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Options say what is shown, and how what is done is done.
type Options struct {
	// Only is the one instance to show, "" for all.
	Only string
	// Follow is [board.Follow] for all instances.
	Follow func(ctx context.Context, f func(board.View) error) error
	// Status sums up an instance in a word.
	Status func(board.View) string
	// Act is [board.Act].
	Act func(ctx context.Context, instance string, kind state.Kind, key, action string) error
	// Start and Stop start and stop an instance.
	Start, Stop func(ctx context.Context, instance string) error
	// Logs writes the last lines of an instance's log, or of that of a container if one is
	// given, and then what is added, until ctx ends.
	Logs func(ctx context.Context, instance, container string, w io.Writer) error
	// Usage asks the engine what a container uses.
	Usage func(ctx context.Context, instance, container string) (Usage, error)
	// Color is whether colors may be used.
	Color bool
}

// A Usage is what a container uses.
type Usage struct {
	CPU    float64 // in percent of one processor
	Memory uint64  // in bytes
}

const (
	// drawInterval is how often the screen is drawn anew at most.
	drawInterval = 50 * time.Millisecond
	// clockInterval is how often it is drawn because time goes on.
	clockInterval = time.Second
)

// Run shows everything on a screen, which it initializes and gives back, until the user
// quits or ctx ends.
func Run(ctx context.Context, screen tcell.Screen, o Options) error {
	if err := screen.Init(); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer screen.Fini()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &top{
		Options: o, screen: screen, ctx: ctx, inbox: make(chan func()),
		model: newModel(o.Only, o.Status),
		usage: usage{on: false, of: map[object]Usage{}},
	}
	events := make(chan tcell.Event)
	stop := make(chan struct{})
	defer close(stop)
	go screen.ChannelEvents(events, stop)
	failed := make(chan error, 1)
	go func() {
		failed <- o.Follow(ctx, func(v board.View) error {
			t.post(func() { t.model.see(v) })
			return ctx.Err()
		})
	}()
	return t.loop(events, failed)
}

// top is a running Run. Everything in it belongs to its loop.
type top struct {
	Options
	screen tcell.Screen
	ctx    context.Context
	inbox  chan func() // what others want to be done in the loop
	model  *model
	usage  usage

	page    page   // shown in place of the table; nil for that
	ask     *ask   // a question to answer first
	message string // the outcome of what was done last
	bad     bool   // it failed
	typing  bool   // the search is being typed
	quit    bool
}

// post does something in the loop, unless that has ended.
func (t *top) post(f func()) {
	select {
	case t.inbox <- f:
	case <-t.ctx.Done():
	}
}

func (t *top) loop(events <-chan tcell.Event, failed <-chan error) error {
	draw := time.NewTimer(0)
	clock := time.NewTicker(clockInterval)
	defer clock.Stop()
	dirty := true
	for !t.quit {
		select {
		case e, ok := <-events:
			if !ok {
				return nil // the terminal has gone
			}
			t.event(e)
			t.draw() // at once: somebody waits for it
			continue
		case f := <-t.inbox:
			f()
			dirty = true
		case err := <-failed:
			if t.ctx.Err() != nil {
				return nil
			}
			return err
		case <-clock.C:
			t.refreshUsage()
			dirty = true
		case <-draw.C:
			if dirty {
				t.draw()
				dirty = false
			}
			draw.Reset(drawInterval)
		case <-t.ctx.Done():
			return nil
		}
	}
	return nil
}

// beside does what may take long in a goroutine of its own, and says how it went.
func (t *top) beside(what string, do func(ctx context.Context) error) {
	t.message, t.bad = what+"…", false
	go func() {
		err := do(t.ctx)
		t.post(func() {
			t.message, t.bad = what+": done", false
			if err != nil && !errors.Is(err, context.Canceled) {
				t.message, t.bad = err.Error(), true
			}
		})
	}()
}
