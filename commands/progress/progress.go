// Package progress shows the progress of a command: on a terminal, a line for each step, which
// its outcome replaces; elsewhere a line for each event; and JSON for programs.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// Modes of a display.
const (
	TTY   = "tty"   // lines that change, for a terminal
	Plain = "plain" // a line an event
	Quiet = "quiet" // only what was asked for
	JSON  = "json"  // an object an event
)

// A Status is the status of a step.
type Status string

// Statuses of steps. Result is the result of a command, on a line of its own.
const (
	Working Status = "working"
	Done    Status = "done"
	Warning Status = "warning"
	Failed  Status = "failed"
	Result  Status = "result"
)

// Itself is the step for the instance itself. Its messages name the instance.
const Itself = "instance"

// An Event is a change of a step of an instance.
type Event struct {
	Time       time.Time    `json:"time"`
	Instance   string       `json:"instance,omitempty"`
	Step       string       `json:"step"`
	Status     Status       `json:"status"`
	Reason     state.Reason `json:"reason,omitempty"` // of the condition that the step waits for
	Message    string       `json:"message"`
	DurationMs int64        `json:"durationMs"` // since the step began
	Error      string       `json:"error,omitempty"`

	// Otherwise is the message if the step fails while it is working.
	Otherwise string `json:"-"`
	// Live events are shown where the outcome can replace them. Elsewhere they are shown once, if
	// the step takes long.
	Live bool `json:"-"`
	// Why returns what the step waits for. It is called now and then while that takes long; may be nil.
	Why func() string `json:"-"`
}

// Options say how a display shows events.
type Options struct {
	Mode  string
	Color bool
	Size  func() (width, height int) // of the terminal; 0 if unknown
	Out   io.Writer
	Now   func() time.Time
}

// A Display shows the progress of one command. Its methods may be called concurrently. It must be
// closed.
type Display struct {
	o Options

	mu    sync.Mutex
	begun map[stepID]time.Time
	last  map[stepID]Event
	order []stepID // of steps that are still working, as they began
	told  bool     // that something failed
	turns []*turn  // of several instances, the first of which is being shown
	term  screen
	slow  map[stepID]*time.Timer // steps with live events, where these stay
	stop  chan struct{}
	ended chan struct{}
}

// A turn has the lines of an instance that wait until the ones before have ended.
type turn struct {
	instance string
	lines    []string
	ended    bool
}

type stepID struct{ instance, step string }

// New returns a display that has shown nothing yet.
func New(o Options) *Display {
	d := &Display{o: o, begun: map[stepID]time.Time{}, last: map[stepID]Event{}, slow: map[stepID]*time.Timer{}}
	if o.Mode == TTY {
		d.term.o = o
		d.stop, d.ended = make(chan struct{}), make(chan struct{})
		go d.tick()
	}
	return d
}

// tick redraws the running times.
func (d *Display) tick() {
	defer close(d.ended)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.mu.Lock()
			d.term.draw()
			d.mu.Unlock()
		case <-d.stop:
			return
		}
	}
}

// Several says that the command works on several instances: lines then name them, and, where they
// stay, the lines of one wait until the one before has [Display.Ended].
func (d *Display) Several(names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.term.several = true
	for _, name := range names {
		d.turns = append(d.turns, &turn{instance: name})
	}
}

// Ended says that nothing of an instance follows.
func (d *Display) Ended(instance string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.turns {
		t.ended = t.ended || t.instance == instance
	}
	for len(d.turns) > 0 && d.turns[0].ended {
		if d.turns = d.turns[1:]; len(d.turns) > 0 {
			_, _ = fmt.Fprint(d.o.Out, strings.Join(d.turns[0].lines, ""))
		}
	}
}

// line prints a line of an instance, when it is its turn.
func (d *Display) line(instance, text string) {
	for n, t := range d.turns {
		if n > 0 && t.instance == instance {
			t.lines = append(t.lines, text+"\n")
			return
		}
	}
	_, _ = fmt.Fprintln(d.o.Out, text)
}

// Show shows an event and sets its time and duration. It ignores events without news.
func (d *Display) Show(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.show(e)
}

func (d *Display) show(e Event) {
	k := stepID{e.Instance, e.Step}
	e.Time = d.o.Now()
	if _, ok := d.begun[k]; !ok {
		d.begun[k] = e.Time
	}
	e.DurationMs = e.Time.Sub(d.begun[k]).Milliseconds()
	if was, ok := d.last[k]; ok && was.Status == e.Status && was.Message == e.Message {
		return
	}
	d.last[k] = e
	d.order = slices.DeleteFunc(d.order, func(other stepID) bool { return other == k })
	if e.Status == Working {
		d.order = append(d.order, k)
	} else {
		delete(d.begun, k) // it may begin again
	}
	switch d.o.Mode {
	case TTY:
		d.term.show(e)
	case Plain:
		if e.Live {
			d.later(k)
			return
		}
		d.line(e.Instance, prefixed(e, d.term.several))
	case JSON:
		d.encode(e)
	}
}

// later prints the line of a step once it has taken long, unless it has ended.
func (d *Display) later(k stepID) {
	if d.slow[k] != nil {
		return
	}
	d.slow[k] = time.AfterFunc(patience, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if e := d.last[k]; e.Status == Working && e.Live && d.slow != nil {
			d.line(e.Instance, prefixed(e, d.term.several))
		}
	})
}

func (d *Display) encode(e Event) {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	enc := json.NewEncoder(d.o.Out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(e)
}

// Asked shows an event that was asked for, in every mode.
func (d *Display) Asked(e Event) {
	if d.o.Mode == Quiet {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.line(e.Instance, e.Message)
		return
	}
	e.Status = Result
	d.Show(e)
}

// Fail marks the working steps of an instance, or all if it is "", as failed with err.
func (d *Display) Fail(instance string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range slices.Clone(d.order) {
		if instance != "" && k.instance != instance {
			continue
		}
		e := d.last[k]
		e.Status, e.Error = Failed, err.Error()
		if e.Otherwise != "" {
			e.Message = e.Otherwise
		}
		d.told = true
		if d.o.Mode != Plain { // there the error is enough
			d.show(e)
		}
	}
	if !d.told && d.o.Mode == JSON {
		d.told = true
		d.show(Event{Instance: instance, Step: Itself, Status: Failed, Message: err.Error(), Error: err.Error()})
	}
}

// Aside runs f, which writes other output to the terminal.
func (d *Display) Aside(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.o.Mode != TTY {
		f()
		return
	}
	d.term.clear()
	f()
	d.term.draw()
}

// Close leaves the final state on the screen. Nothing may be shown afterwards.
func (d *Display) Close() {
	if d.stop == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, t := range d.slow {
			t.Stop()
		}
		d.slow = nil
		return
	}
	close(d.stop)
	<-d.ended
	d.mu.Lock()
	defer d.mu.Unlock()
	d.term.end()
}

// prefixed is the event's message, with the instance if there are several and the message does
// not name it.
func prefixed(e Event, several bool) string {
	if !several || e.Instance == "" || e.Step == Itself || e.Status == Result {
		return e.Message
	}
	return e.Instance + ": " + e.Message
}
