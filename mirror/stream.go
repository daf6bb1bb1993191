package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// lateBy is how late an event must come to count as late, beside what the
	// measurement of the clocks allows: moby drops an event when a listener's queue has
	// been full for so long, and then all in the queue are as late.
	lateBy = 100 * time.Millisecond
	// clockJump is how far an event's time may be off before the engine's clock must
	// have jumped.
	clockJump = 30 * time.Second
)

var errNoAnswer = errors.New("the engine does not answer")

// An engineClock says how the engine's clock goes.
type engineClock struct {
	// begin is what it showed when the session began, or a little less.
	begin time.Time
	// offset is what it is ahead of ours at most, and less the margin at least.
	offset, margin time.Duration
}

// known reports whether the clock is known well enough to tell what is late by it.
func (c engineClock) known() bool { return c.margin < clockJump }

// now returns what the clock shows, or a little more.
func (c engineClock) now() time.Time { return time.Now().Add(c.offset) }

// watch implements [Engine]. Events are read always at once.
//
// The engine sends its answer's headers before it subscribes. So the subscription
// may begin after the lists; what happens in between is replayed, because the stream
// was asked for from a time before them.
func (m *Moby) watch(ctx context.Context, timeout time.Duration, in *intake, run func(func())) (<-chan error, error) {
	// The context of the stream lasts: only the wait for its beginning is bounded.
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { cancel(errNoAnswer) })
	answer, err := m.Get(ctx, "/events", url.Values{"since": {moment(m.clock.begin)}})
	if !timer.Stop() && err == nil {
		_ = answer.Body.Close()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("open the event stream: %w", err)
	}
	s := newStream(answer.Body, m.clock)
	ended := make(chan error, 1)
	run(func() {
		defer cancel(nil)
		defer answer.Body.Close()
		for {
			e, late, jumped, err := s.next()
			if err != nil {
				ended <- fmt.Errorf("event stream: %w", err)
				return
			}
			m.sawEvent(e.TimeNano, jumped)
			in.add(m.says(e), late, jumped)
		}
	})
	return ended, nil
}

// A stream reads the engine's events. Nothing says that an engine puts each on a line of its
// own.
type stream struct {
	decoder *jsontext.Decoder
	clock   engineClock
	// first is what the engine's clock showed at most when the first event came, zero before
	// and where the clock is unknown. What happened earlier was replayed: the subscription
	// began no later.
	first time.Time
}

func newStream(body io.Reader, clock engineClock) *stream {
	return &stream{decoder: jsontext.NewDecoder(body, liberal), clock: clock}
}

// next returns the next event, whether it came so late that others may have been lost,
// which goes for what was replayed too, and whether the engine's clock must have jumped.
// The error is never io.EOF.
func (s *stream) next() (e event, late, jumped bool, err error) {
	if err = json.UnmarshalDecode(s.decoder, &e); errors.Is(err, io.EOF) {
		err = errors.New("the engine ended it")
	}
	if err != nil || e.TimeNano == 0 {
		return e, false, false, err
	}
	at, now := time.Unix(0, e.TimeNano), s.clock.now()
	if s.clock.known() && s.first.IsZero() {
		s.first = now
	}
	lag := now.Sub(at)
	if s.clock.known() && lag.Abs() > clockJump {
		s.clock.offset -= lag
		s.first = at
		return e, false, true, nil
	}
	return e, lag > lateBy+s.clock.margin || at.Before(s.first), false, nil
}
