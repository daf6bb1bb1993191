package mirror

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/internal/jsonscan"
)

const (
	// lateBy is how late an event must come to count as late, beside what the
	// measurement of the clocks allows: moby drops an event when a listener's queue has
	// been full for so long, and then all in the queue are as late.
	lateBy = 100 * time.Millisecond
	// clockJump is how far an event's time may be off before the engine's clock must
	// have jumped.
	clockJump = 30 * time.Second
	// calm is for how long the stream is left alone after a read that took all there
	// was, where events come that fast. The engine keeps them meanwhile.
	calm = 4 * time.Millisecond
	// streamBuffer is how much of the stream is read at once.
	streamBuffer = 64 << 10
)

var errNoAnswer = errors.New("the engine does not answer")

// open opens the event stream from the engine's time on and has it read into the
// intake, always at once. The channel gets the reason why the stream ended.
//
// The engine sends its answer's headers before it subscribes. So the subscription
// may begin after the lists; what happens in between is replayed, because the stream
// was asked for from a time before them.
func (p *pass) open(ctx context.Context, clock time.Time, offset, margin time.Duration) (<-chan error, error) {
	since := fmt.Sprintf("%d.%09d", clock.Unix(), clock.Nanosecond())
	// The context of the stream lasts: only the wait for its beginning is bounded.
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := time.AfterFunc(p.src.opts.InspectTimeout, func() { cancel(errNoAnswer) })
	answer, err := p.cli.Get(ctx, "/events", url.Values{"since": {since}})
	if !timeout.Stop() && err == nil {
		_ = answer.Body.Close()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("open the event stream: %w", err)
	}
	s := newStream(answer.Body, offset, margin)
	ended := make(chan error, 1)
	p.calls.Go(func() {
		defer cancel(nil)
		defer answer.Body.Close()
		for {
			e, late, jumped, err := s.next()
			if err != nil {
				ended <- fmt.Errorf("event stream: %w", err)
				return
			}
			p.intake.add(e, late, jumped)
		}
	})
	return ended, nil
}

// A stream reads the engine's events.
type stream struct {
	decoder *json.Decoder
	text    json.RawMessage // of the last event, for use again
	// offset is what the engine's clock is ahead of ours at most, and less the margin at
	// least. First is what it showed at most when the first event came, zero before and
	// where the clock is unknown. What happened earlier was replayed: the subscription
	// began no later.
	offset, margin time.Duration
	first          time.Time
}

func newStream(body io.Reader, offset, margin time.Duration) *stream {
	// The decoder finds where each event ends: nothing says that an engine puts it on a
	// line of its own.
	return &stream{
		decoder: json.NewDecoder(bufio.NewReaderSize(&calmReader{from: body}, streamBuffer)),
		offset:  offset,
		margin:  margin,
	}
}

// next returns the next event, whether it came so late that others may have been lost,
// which goes for what was replayed too, and whether the engine's clock must have jumped.
// The error is never io.EOF.
func (s *stream) next() (e events.Message, late, jumped bool, err error) {
	if err = s.decoder.Decode(&s.text); errors.Is(err, io.EOF) {
		err = errors.New("the engine ended it")
	}
	if err != nil {
		return e, false, false, err
	}
	scanner := jsonscan.New(s.text)
	e = readEvent(scanner)
	if err := scanner.Err(); err != nil || e.TimeNano == 0 {
		return e, false, false, err
	}
	at, now := time.Unix(0, e.TimeNano), time.Now().Add(s.offset)
	known := s.margin < clockJump
	if known && s.first.IsZero() {
		s.first = now
	}
	lag := now.Sub(at)
	if known && lag.Abs() > clockJump {
		s.offset -= lag
		s.first = at
		return e, false, true, nil
	}
	return e, lag > lateBy+s.margin || at.Before(s.first), false, nil
}

// A calmReader takes what comes in a moment at once. An engine sends every event by
// itself, and to wake up for each costs more than to read it.
type calmReader struct {
	from io.Reader
	last time.Time // when the last read returned
	busy bool      // it took all there was, hardly more than a calm after the one before
}

func (r *calmReader) Read(p []byte) (n int, err error) {
	if r.busy {
		time.Sleep(time.Until(r.last.Add(calm)))
	}
	n, err = r.from.Read(p)
	now := time.Now()
	r.busy = n < len(p) && now.Sub(r.last) < 2*calm
	r.last = now
	return n, err
}
