// Package top shows instances and their objects live on the whole terminal.
//
// It reads the state files, which costs the engines nothing. It asks engines only for logs and for
// the usage of processor and memory, when the user wants to see them.
package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gdamore/tcell/v2"

	"github.com/docker-rd/docker-rd/board"
)

// Options say what to show, and how to act.
type Options struct {
	// Only is the only instance to show, "" for all.
	Only string
	board.Board
	// Logs writes the log of an instance, or of a container if one is given, and follows it
	// until ctx ends.
	Logs func(ctx context.Context, instance, container string, w io.Writer) error
	// Usage asks the engine for the usage of a container.
	Usage func(ctx context.Context, instance, container string) (Usage, error)
	// Color allows colors.
	Color bool
}

// A Usage is the usage of a container.
type Usage struct {
	CPU    float64 // in percent of one processor
	Memory uint64  // in bytes
}

const (
	// drawInterval is the least time between two redraws.
	drawInterval = 50 * time.Millisecond
	// clockInterval is how often ages are redrawn.
	clockInterval = time.Second
)

// Run shows everything on a screen until the user quits or ctx ends. It initializes and finalizes
// the screen.
func Run(ctx context.Context, screen tcell.Screen, o Options) error {
	if err := screen.Init(); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer screen.Fini()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &top{
		Options: o, screen: screen, ctx: ctx, inbox: make(chan func()),
		model: newModel(o.Only),
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

// top is a call of Run. Its fields belong to its loop.
type top struct {
	Options
	screen tcell.Screen
	ctx    context.Context
	inbox  chan func() // to be called in the loop
	model  *model
	asking map[object]bool // whose usage is being asked for

	page    *page  // shown instead of the table; may be nil
	ask     *ask   // a question to answer first
	cut     string // what of the selected row the table shows only in part
	message string // the outcome of the last action
	bad     bool   // the action failed
	typing  bool   // the search is being typed
	quit    bool
}

// post calls f in the loop, unless that has ended.
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
			t.draw() // at once: the user waits for it
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

// beside does something that may take long in a goroutine, and shows the outcome.
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
