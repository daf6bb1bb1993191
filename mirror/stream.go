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

	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// lateBy is the delay at which an event counts as late, beside the uncertainty of the
	// clocks: moby drops an event when a listener's queue has been full for that long.
	lateBy = 100 * time.Millisecond
	// clockJump is the difference at which the engine's clock must have been set.
	clockJump = 30 * time.Second
	// networkPoll is how often the networks of an engine are listed that has no events of them.
	networkPoll = 3 * time.Second
)

var errNoAnswer = errors.New("the engine does not answer")

// An engineClock relates the engine's clock to ours.
type engineClock struct {
	// begin is what it showed when the session began, or a little less.
	begin time.Time
	// offset is how far it is ahead of ours at most; at least it is offset-margin.
	offset, margin time.Duration
}

// known reports whether the clock is known well enough to tell which events are late.
func (c engineClock) known() bool { return c.margin < clockJump }

// now returns the engine's time, or a little more.
func (c engineClock) now() time.Time { return time.Now().Add(c.offset) }

// watch implements [Engine].
//
// The engine sends the response headers before it subscribes, so the subscription may begin
// after the lists. Events in between are replayed: since is a time before the lists.
func (m *Moby) watch(ctx context.Context, timeout time.Duration, in *intake, run func(func())) (<-chan error, error) {
	// Only the wait for the response is bounded, not the stream.
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
	if m.dialect.quietNetworks {
		run(func() { pollNetworks(ctx, in) })
	}
	return ended, nil
}

// pollNetworks marks the networks again and again until ctx ends.
func pollNetworks(ctx context.Context, in *intake) {
	for pause.For(ctx, networkPoll) == nil {
		in.mark(state.Networks, "")
	}
}

// A stream reads the engine's events, which need not be on lines of their own.
type stream struct {
	decoder *jsontext.Decoder
	clock   engineClock
	// first is the engine's time when the first event came, zero before that and while the
	// clock is unknown. Earlier events were replayed: the subscription began no later.
	first time.Time
}

func newStream(body io.Reader, clock engineClock) *stream {
	return &stream{decoder: jsontext.NewDecoder(body, liberal), clock: clock}
}

// next returns the next event, whether it is so late that others may have been lost (as a
// replayed one always is), and whether the engine's clock has jumped. The error is never io.EOF.
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
