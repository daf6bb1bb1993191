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
}

// A Display shows the progress of one command. Its methods may be called concurrently. It must be
// closed.
type Display struct {
	o Options

	mu      sync.Mutex
	lines   []*line // of steps that are working, and on a terminal, all from the first of these on
	several bool    // instances
	turns   []*turn // of several instances, the first of which is being shown
	told    bool    // that something failed
	closed  bool
	drawn   int           // changing lines on the terminal
	spins   int           // how often they were drawn
	stop    chan struct{} // ends the redrawing; nil if there is none
}

// A line is the last event of a step.
type line struct {
	Event
	begun time.Time
	slow  *time.Timer // for live events, where lines stay
}

// A turn has the lines of an instance that wait until the ones before have ended.
type turn struct {
	instance string
	lines    []string
	ended    bool
}

// New returns a display that has shown nothing yet.
func New(o Options) *Display {
	d := &Display{o: o}
	if o.Mode == TTY {
		d.stop = make(chan struct{})
		go d.tick()
	}
	return d
}

// tick redraws the running times.
func (d *Display) tick() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.mu.Lock()
			d.draw()
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
	d.several = true
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

// print prints the line of an event, when it is its instance's turn.
func (d *Display) print(e Event) {
	text := d.prefixed(e)
	for n, t := range d.turns {
		if n > 0 && t.instance == e.Instance {
			t.lines = append(t.lines, text+"\n")
			return
		}
	}
	_, _ = fmt.Fprintln(d.o.Out, text)
}

// prefixed is the event's message, with the instance if there are several and the message does
// not name it.
func (d *Display) prefixed(e Event) string {
	if !d.several || e.Instance == "" || e.Step == Itself || e.Status == Result {
		return e.Message
	}
	return e.Instance + ": " + e.Message
}

// Show shows an event and sets its time and duration. It ignores events without news.
func (d *Display) Show(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.show(e)
}

func (d *Display) show(e Event) {
	e.Time = time.Now()
	n := slices.IndexFunc(d.lines, func(l *line) bool {
		return l.Status == Working && l.Instance == e.Instance && l.Step == e.Step
	})
	if n < 0 {
		n, d.lines = len(d.lines), append(d.lines, &line{begun: e.Time})
	}
	l := d.lines[n]
	if l.Status == e.Status && l.Message == e.Message {
		return
	}
	if e.Why == nil {
		e.Why = l.Why
	}
	e.DurationMs = e.Time.Sub(l.begun).Milliseconds()
	l.Event = e
	switch {
	case d.o.Mode == TTY:
		d.draw()
		return
	case d.o.Mode == JSON:
		d.encode(e)
	case d.o.Mode == Plain && e.Live:
		d.later(l)
	case d.o.Mode == Plain:
		d.print(e)
	}
	if e.Status != Working {
		d.lines = slices.Delete(d.lines, n, n+1)
	}
}

// later prints the line of a step once it has taken long, unless it has ended.
func (d *Display) later(l *line) {
	if l.slow != nil {
		return
	}
	l.slow = time.AfterFunc(patience, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if l.Status == Working && l.Live && !d.closed {
			d.print(l.Event)
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Status = Result; d.o.Mode == Quiet {
		d.print(e)
		return
	}
	d.show(e)
}

// Fail marks the working steps of an instance, or all if it is "", as failed with err.
func (d *Display) Fail(instance string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range slices.Clone(d.lines) {
		if l.Status != Working || instance != "" && l.Instance != instance {
			continue
		}
		d.told = true
		if d.o.Mode == Plain { // there the error is enough
			l.Status = Failed
			continue
		}
		e := l.Event
		e.Status, e.Error = Failed, err.Error()
		if e.Otherwise != "" {
			e.Message = e.Otherwise
		}
		d.show(e)
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
	_, _ = fmt.Fprint(d.o.Out, d.rewind())
	f()
	d.draw()
}

// Close leaves the final state on the screen. Nothing may be shown afterwards.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.o.Mode == TTY {
		d.draw()
	}
	if d.stop != nil {
		close(d.stop)
	}
}
