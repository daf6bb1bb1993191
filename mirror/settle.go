package mirror

import (
	"context"
	"time"
)

// After a change in the engine its event is in flight, and nothing tells when it has arrived.
// So the engine is asked for what it has done until now. When everything that this marks has
// been looked up, the mirror has seen it all.

// pastTimeout bounds the request for past events. An engine that takes longer may not support
// until: a full sync takes its place.
const pastTimeout = 5 * time.Second

// settleRetries is how often a lookup that failed is waited for: an engine that is busy may not answer
// in time, as a containerd whose shims do not.
const settleRetries = 2

// A settling waits for the lookups that past events call for, or for one that was asked for.
type settling struct {
	*barrier
	done []*waiter
}

// settle ends a full sync that is complete, and then serves the settlers.
func (p *session) settle(ctx context.Context) {
	if p.full != nil && p.full.open() {
		p.completed()
	}
	if p.full != nil || p.renew {
		return
	}
	var asked []*waiter
	for _, w := range p.src.takeSettlers() {
		if w.object != nil {
			p.lookFor(w)
		} else {
			asked = append(asked, w)
		}
	}
	if len(asked) > 0 {
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

// lookFor has the object looked up that a waiter asked for.
func (p *session) lookFor(w *waiter) {
	s := &settling{newBarrier(settleRetries), []*waiter{w}}
	s.keys[*w.object] = p.numbered + 1
	p.settling = append(p.settling, s)
	p.queue.mark(*w.object, false)
}

// askAgain asks the engine for what the stream has not delivered yet. If the engine can't tell,
// as podman, a full sync takes its place.
func (p *session) askAgain(ctx context.Context, asked []*waiter) {
	// The pending call keeps the barrier closed.
	w := &settling{newBarrier(settleRetries), asked}
	w.lists[""] = 0
	p.settling = append(p.settling, w)
	p.call(ctx, min(pastTimeout, p.src.opts.InspectTimeout), func(call context.Context) func() {
		sure, err := p.engine.catchUp(call, p.intake)
		return func() {
			delete(w.lists, "")
			switch {
			case err != nil: // first of all: does it answer?
				w.done, p.doubtful = nil, append(p.doubtful, asked...)
				p.ping(ctx)
				return
			case !sure:
				w.done = nil
				p.src.wait(asked...)
				return
			}
			p.take()
			p.raise(w.barrier)
		}
	})
}

// raise makes a barrier wait for everything that is dirty now, and makes that urgent.
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
		case i.call != 0 && i.flying.wait == 0: // not a retry: the engine may hang for that object
			b.keys[k] = i.call
		}
	}
}
