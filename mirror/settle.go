package mirror

import (
	"context"
	"time"
)

// Whoever has just changed something in the engine wants to see it in the mirror. Its event is
// on its way, and nothing tells when it has arrived. So the engine is asked for what it has
// done until now. What that marks has to be looked up before the mirror has seen it all.

// pastTimeout bounds asking for past events. An engine that takes longer may not know how to
// end: a full sync does it then.
const pastTimeout = 5 * time.Second

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

// askAgain has the engine say what has not come through the stream. Where that says nothing,
// as with podman, whose events take their time, a full sync is what is left.
func (p *session) askAgain(ctx context.Context, asked []*waiter) {
	// The call keeps it up: until it has ended, nothing is open.
	w := &settling{newBarrier(), asked}
	w.lists[""] = 0
	p.settling = append(p.settling, w)
	p.call(ctx, min(pastTimeout, p.src.opts.InspectTimeout), func(call context.Context) func() {
		sure, err := p.engine.catchUp(call, p.intake)
		return func() {
			delete(w.lists, "")
			switch {
			case err != nil: // whether it answers at all is to be known first
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
