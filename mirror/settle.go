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

// Whoever has just changed something in the engine wants to see it in the mirror. Its event is
// on its way, and nothing tells when it has arrived. But the engine remembers its last events:
// they are asked for a second time, up to now, which it answers at once. What they mark has to
// be looked up before the mirror has seen all until now.

// pastTimeout bounds asking for past events. An engine that takes longer may not know how to
// end: a full sync does it then.
const pastTimeout = 5 * time.Second

// replayed is how many events moby remembers.
const replayed = 256

// A settling waits until the mirror has seen all that the engine had done when it was asked.
type settling struct {
	*barrier
	done []*waiter
}

// settle notes when the full sync is complete, and then takes care of who wants to see what
// is on its way.
func (p *session) settle(ctx context.Context) {
	if p.full != nil && p.full.open() {
		p.completed()
	}
	if p.full != nil || p.renew {
		return
	}
	if asked := p.src.takeSettlers(); len(asked) > 0 {
		p.askAgain(ctx, asked)
	}
	rest := p.settling[:0]
	for _, w := range p.settling {
		if w.open() {
			p.answers = append(p.answers, w.done...)
		} else {
			rest = append(rest, w)
		}
	}
	p.settling = rest
}

// askAgain asks the engine for the events that have not come through the stream. Where that
// says nothing, as with podman, whose events take their time, a full sync is what is left.
func (p *session) askAgain(ctx context.Context, asked []*waiter) {
	if p.podman || !p.clock.known() {
		p.src.wait(asked...)
		return
	}
	// The call keeps it up: until it has ended, nothing is open.
	w := &settling{newBarrier(), asked}
	w.lists[""] = 0
	p.settling = append(p.settling, w)
	since, until := p.intake.lastEvent(p.clock.begin), p.clock.now()
	p.call(ctx, min(pastTimeout, p.src.opts.InspectTimeout), func(call context.Context) func() {
		events, err := p.past(call, since, until)
		return func() {
			delete(w.lists, "")
			switch {
			case err != nil: // whether it answers at all is to be known first
				w.done, p.doubtful = nil, append(p.doubtful, asked...)
				p.ping(ctx)
				return
			case len(events) >= replayed:
				w.done = nil
				p.src.wait(asked...)
				return
			}
			for _, e := range events {
				p.intake.again(e)
			}
			p.take()
			p.raise(w.barrier)
		}
	})
}

// raise has a barrier wait for all that is marked now, and that be done at once.
func (p *session) raise(b *barrier) {
	for _, l := range p.listings {
		switch {
		case l.wanted:
			b.lists[l.kind] = p.numbered + 1
			l.urgent, l.pace = true, pace{}
		case l.call != 0:
			b.lists[l.kind] = l.call
		}
	}
	for k, i := range p.queue.items {
		switch {
		case i.urgent, i.again:
			b.keys[k] = p.numbered + 1
		case i.call != 0:
			b.keys[k] = i.call
		}
	}
}

// past returns the engine's events between two moments on its clock.
func (p *session) past(ctx context.Context, since, until time.Time) (events []event, err error) {
	answer, err := p.cli.Get(ctx, "/events", url.Values{"since": {moment(since)}, "until": {moment(until)}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	for d := jsontext.NewDecoder(answer.Body, liberal); ; {
		var e event
		if err := json.UnmarshalDecode(d, &e); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
}

// moment is a time as the engine takes it.
func moment(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
