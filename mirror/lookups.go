package mirror

import (
	"context"
	"reflect"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// secondLook is how long after an event a container that does not run is looked up once more,
	// until two lookups agree: a failed start or removal has no event.
	secondLook = time.Second
	// retryWait and maxRetryWait are the first and the longest wait before a lookup that failed,
	// or found a transient state, is repeated.
	retryWait    = 200 * time.Millisecond
	maxRetryWait = time.Minute
)

func (p *session) lookUp(ctx context.Context, k key) {
	p.numbered++
	l := p.of(k.kind)
	if l.call != 0 {
		l.touched[k.id] = true
	}
	p.call(ctx, p.src.opts.InspectTimeout, func(ctx context.Context) func() {
		object, err := l.inspect(ctx, k.id)
		if err != nil {
			object = nil
		}
		if cerrdefs.IsNotFound(err) {
			err = nil
		}
		return func() { p.lookedUp(k, object, err) }
	})
}

// lookedUp takes in the answer: object is nil if there is none.
func (p *session) lookedUp(k key, object any, err error) {
	f := p.queue.done(k)
	now := time.Now()
	switch {
	case f.again:
		// It is in the queue again.
	case err != nil:
		if f.wait == 0 {
			p.src.opts.Log.Warn("object can't be inspected", "kind", k.kind, "id", k.id, "error", err)
		}
		p.queue.retry(k, now, backedOff(f.wait), nil, f.gone)
	case transient(object):
		p.queue.retry(k, now, backedOff(f.wait), object, false)
	case f.marked && idle(object) && !reflect.DeepEqual(object, f.seen):
		p.queue.retry(k, now, secondLook, object, false)
	}
	p.found(k, object, f.gone, err)
	if err != nil && p.full != nil && p.full.keys[k] != 0 {
		p.full.failed++
	}
	for _, b := range p.barriers() {
		b.lookedUp(k, f.call, err != nil)
	}
}

// backedOff returns the wait after the given one.
func backedOff(wait time.Duration) time.Duration {
	return Jitter(min(max(2*wait, retryWait), maxRetryWait), 5)
}

// transient reports whether an object is in a state that ends by itself, not always with an
// event: moby has none for a container that it gives up restarting.
func transient(object any) bool {
	c, ok := object.(state.Container)
	return ok && (c.State == state.StateRestarting || c.State == state.StateRemoving)
}

// idle reports whether an object is a container that does not run.
func idle(object any) bool {
	c, ok := object.(state.Container)
	return ok && c.State != state.StateRunning && c.State != state.StatePaused
}

// found passes on the answer of a lookup.
func (p *session) found(k key, object any, gone bool, err error) {
	s := p.src
	if k.kind == state.Images {
		if i, ok := s.images.complete(k.id, object, err); ok {
			s.out.add(Change{Kind: k.kind, Objects: []any{i}})
		}
		return
	}
	if o, ok := object.(state.Container); ok && s.images.lacks(o.Image) {
		p.intake.mark(state.Images, "")
	}
	part := p.parts[k]
	delete(p.parts, k)
	if err != nil {
		if object = part; part == nil {
			return
		}
	}
	c := Change{Kind: k.kind}
	if object == nil || gone && k.kind == state.Volumes {
		c.Gone = []Gone{{Key: k.id, Name: p.names[k.id]}}
		delete(p.names, k.id)
	}
	if object != nil {
		c.Objects = []any{object}
	}
	s.out.add(c)
}
