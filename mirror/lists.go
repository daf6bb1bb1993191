package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// maxRefusals is how often in a row the engine may refuse to list a kind before the session
// ends. Podman refuses while a container or an image is being removed.
const maxRefusals = 5

// A listing is the state of one kind's list call.
type listing struct {
	*resource
	wanted, urgent bool
	call           uint64 // the list call in flight, 0 for none
	begin          time.Time
	// touched are the objects that were looked up meanwhile: the list may be older or newer.
	touched map[string]bool
	pace    pace
	refused int   // refusals in a row
	failure error // ends the session once the pending lists have ended
}

func (p *session) of(kind state.Kind) *listing {
	return p.listings[slices.IndexFunc(p.listings, func(l *listing) bool { return l.kind == kind })]
}

// failure returns why a kind can't be listed: of several always the same, which is told once.
func (p *session) failure() error {
	for _, l := range p.listings {
		if l.failure != nil {
			return l.failure
		}
	}
	return nil
}

func (p *session) isListing() bool {
	return slices.ContainsFunc(p.listings, func(l *listing) bool { return l.call != 0 })
}

func (p *session) list(ctx context.Context, l *listing, now time.Time) {
	p.numbered++
	l.wanted, l.urgent = false, false
	l.call, l.begin, l.touched = p.numbered, now, p.queue.inFlight(l.kind)
	p.call(ctx, p.src.opts.ListTimeout, func(ctx context.Context) func() {
		objects, err := l.list(ctx)
		return func() { p.listed(l, objects, err) }
	})
}

func (p *session) listed(l *listing, objects []any, err error) {
	call := l.call
	l.call = 0
	if err != nil {
		p.notListed(l, err)
		return
	}
	l.refused = 0
	l.pace.listed(l.begin, time.Now())
	details := p.inventory(l, objects)
	for _, b := range p.barriers() {
		b.listed(l.kind, call, details, p.numbered+1)
	}
	for _, k := range details {
		p.queue.add(k, l.touched[k.id])
	}
	if s := p.src; p.full != nil && len(p.full.lists) == 0 && s.sync.Status != state.True && s.sync.Reason != state.ReasonListed {
		s.setSync(state.False, state.ReasonListed, "details are coming")
		s.emitSync()
	}
}

// notListed lists a kind again after a wait, or ends the session.
func (p *session) notListed(l *listing, err error) {
	var refusal *endpoint.StatusError
	if !errors.As(err, &refusal) || l.refused == maxRefusals {
		l.failure = fmt.Errorf("list the %s: %w", l.kind, err)
		return
	}
	l.refused++
	l.wanted, l.urgent = true, true
	l.pace.notBefore = time.Now().Add(retryWait)
}

// inventory passes on a list, and returns the objects to look up. Those of which the list lacks fields
// are better than none before the mirror is synced, and than those of a former session if they can't be
// looked up; afterwards all are whole.
func (p *session) inventory(l *listing, objects []any) (details []key) {
	s := p.src
	newer := l.touched
	var parts []any
	var ids []string // of the parts
	switch {
	case l.kind == state.Images:
		newer = nil // no lookup contradicts the list
		objects, parts, ids = s.images.know(objects)
	case l.details:
		for _, o := range objects {
			id := o.(state.Container).ID
			ids = append(ids, id)
			if s.sync.Status != state.True {
				p.parts[key{l.kind, id}] = o
			}
		}
		objects, parts = nil, objects
	}
	if s.sync.Status != state.True {
		s.out.add(Change{Kind: l.kind, Objects: parts, Partial: true, Except: newer})
	}
	except := make(map[string]bool, len(newer)+len(ids))
	maps.Copy(except, newer)
	for _, id := range ids {
		except[id] = true
		details = append(details, key{l.kind, id})
	}
	s.out.add(Change{Kind: l.kind, Objects: objects, Replace: true, Except: except})
	if !l.listsAll {
		for id := range l.touched { // the list may be older
			details = append(details, key{l.kind, id})
		}
	}
	return details
}
