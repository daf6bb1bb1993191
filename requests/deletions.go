package requests

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// firstRetry and maxRetry bound the waits before a refused deletion is repeated. A change in
	// the mirror makes that sooner, but not before afterChange.
	firstRetry  = time.Second
	maxRetry    = time.Minute
	afterChange = 200 * time.Millisecond
	// perDeletion is the least time per pending deletion between two tries of one.
	perDeletion = 10 * time.Millisecond
	// maxDeleting is the number of deletions that the engine is asked for at once: each takes a
	// connection, over ssh with processes.
	maxDeleting = 32
)

type deletion struct {
	requests []Request
	recorded *state.Deletion
	cancel   context.CancelFunc // of the current call or wait, or nil
	waits    int                // the number of the current wait: the end of an older one is ignored
	trying   bool
	tried    time.Time
	wait     time.Duration
	// pin is the CreatedAt of the volume that is meant. It follows a mirror that is synced:
	// before moby 23, CreatedAt is when the volume was last used.
	pin    time.Time
	pinned bool
}

// OwnNetwork reports whether the engine itself has made the network of that name, and never
// deletes it. On another engine it may be a user's.
func OwnNetwork(e state.Engine, name string) bool {
	switch name {
	case "bridge", "host", "none":
		return true
	case "nat":
		return e.OS == "windows"
	case "podman":
		return e.ID == ""
	}
	return false
}

// Delete returns the request to delete the object of a kind that has the key. It refuses objects
// that do not exist, and the engine's own networks.
func Delete(s *state.State, kind state.Kind, key string) (Request, error) {
	r := Request{Type: RequestDelete, Kind: kind, Key: key, Name: key}
	exists := false
	switch kind {
	case state.Containers:
		var c state.Container
		c, exists = s.Containers[key]
		r.Name = c.Name
	case state.Images:
		_, exists = s.Images[key]
	case state.Volumes:
		var v state.Volume
		v, exists = s.Volumes[key]
		r.CreatedAt = v.CreatedAt
	case state.Networks:
		var n state.Network
		n, exists = s.Networks[key]
		r.Name = n.Name
	}
	switch {
	case !exists:
		return r, failure.Refuse("no object %q of kind %s", key, kind)
	case kind == state.Networks && OwnNetwork(s.Engine, r.Name):
		return r, failure.Refuse("network %q is the engine's own", r.Name)
	}
	return r, nil
}

func (e *Executor) acceptDeletion(r Request) {
	t := r.target()
	if r.Key == "" {
		e.decide(r, errors.New("it names no object"))
		return
	}
	switch r.Kind {
	case state.Containers, state.Images, state.Volumes:
	case state.Networks:
		if n, ok := e.store.Network(r.Key); ok && OwnNetwork(e.store.Engine(), n.Name) {
			e.decide(r, fmt.Errorf("network %q is the engine's own", n.Name))
			return
		}
	default:
		e.decide(r, fmt.Errorf("%s can't be deleted", r.Kind))
		return
	}
	if d := e.deletions[t]; d != nil {
		d.requests = append(d.requests, r)
		if !d.trying {
			e.schedule(t, d, 0) // there may be a reason to ask again
		}
		e.tellLost(d)
		return
	}
	d := &deletion{
		requests: []Request{r},
		recorded: &state.Deletion{Request: r.ID, RequestedAt: r.RequestedAt},
		wait:     firstRetry,
		pin:      r.CreatedAt,
	}
	e.deletions[t] = d
	if e.watched && !e.checkPin(t, d) {
		return
	}
	e.note(t, d)
	e.schedule(t, d, 0)
	e.tellLost(d)
}

// tellLost answers requests for the outcome of the first try: while the engine is not
// connected, there is none.
func (e *Executor) tellLost(d *deletion) {
	if e.lost {
		e.refused(d, mirror.ErrDisconnected)
	}
}

// checkPin ends the deletion if the volume is not the one that was meant, by its time of
// creation. It returns whether the deletion goes on.
func (e *Executor) checkPin(t target, d *deletion) bool {
	if t.kind != state.Volumes {
		return true
	}
	v, ok := e.store.Volume(t.key)
	if !ok {
		e.endDeletion(t, Outcome{State: state.ActionSucceeded})
		return false
	}
	if !d.pin.IsZero() && !v.CreatedAt.Equal(d.pin) {
		e.endDeletion(t, Outcome{
			State: state.ActionFailed,
			Error: fmt.Sprintf("volume %q is not, or not provably, the one that was meant: it was created at %s", t.key, v.CreatedAt.Format(time.RFC3339)),
		})
		return false
	}
	d.pin, d.pinned = v.CreatedAt, true
	return true
}

// pin follows the volume while the mirror is synced.
func (e *Executor) pin(t target, d *deletion) {
	if !e.watched || t.kind != state.Volumes {
		return
	}
	if v, ok := e.store.Volume(t.key); ok && d.pinned {
		d.pin = v.CreatedAt
	}
}

// note records the deletion on the object, if it exists.
func (e *Executor) note(t target, d *deletion) {
	e.store.SetDeletion(t.kind, t.key, t.reference, d.recorded)
}

func (e *Executor) endDeletion(t target, o Outcome) {
	d := e.deletions[t]
	if d == nil {
		return
	}
	delete(e.deletions, t)
	if d.cancel != nil {
		d.cancel()
	}
	e.store.SetDeletion(t.kind, t.key, t.reference, nil)
	for _, r := range d.requests {
		o.ID = r.ID
		e.decideAs(r, o)
	}
}

func (e *Executor) acceptCancel(r Request) {
	t := r.target()
	if e.deletions[t] == nil {
		e.decide(r, fmt.Errorf("no deletion of %q is requested", r.Name))
		return
	}
	e.endDeletion(t, Outcome{State: OutcomeCancelled})
	e.decide(r, nil)
}

// schedule tries the deletion after a wait, which replaces the current one.
func (e *Executor) schedule(t target, d *deletion, wait time.Duration) {
	if d.cancel != nil {
		d.cancel()
	}
	d.waits++
	this := d.waits
	d.cancel = e.beside(func(ctx context.Context) func() {
		if pause.For(ctx, wait) != nil {
			return nil
		}
		return func() {
			if e.deletions[t] == d && d.waits == this {
				e.try(t, d)
			}
		}
	})
}

// try asks the engine to delete the object, if that is still requested: who has asked may have removed
// the request.
func (e *Executor) try(t target, d *deletion) {
	d.requests = slices.DeleteFunc(d.requests, func(r Request) bool {
		withdrawn := !isPending(e.dir, r.ID)
		if withdrawn {
			delete(e.accepted, r.ID)
		}
		return withdrawn
	})
	if len(d.requests) == 0 {
		e.endDeletion(t, Outcome{})
		return
	}
	if t.kind == state.Volumes && !d.pinned || t.kind == state.Images && !e.watched {
		// Wait until the mirror has found the volume and it is the right one, or until the
		// engine is known to be the right one. That schedules the next try.
		d.cancel = nil
		return
	}
	pin := d.pin
	d.trying, d.tried = true, time.Now()
	d.cancel = e.beside(func(ctx context.Context) func() {
		gone, whole, err := e.remove(ctx, t, pin)
		err = endpoint.WithoutURL(err)
		e.source.Mark(t.kind, t.key)
		if e.ctx.Err() != nil {
			return nil
		}
		return func() {
			d.trying = false
			if e.deletions[t] != d {
				return // decided meanwhile
			}
			if gone {
				e.forget(t, d, whole)
				e.endDeletion(t, Outcome{State: state.ActionSucceeded})
				return
			}
			if err != nil && !errors.Is(err, errChanged) && d.recorded.Error != err.Error() {
				c := *d.recorded
				c.Error = err.Error()
				d.recorded = &c
				e.note(t, d)
			}
			if err != nil && !errors.Is(err, errChanged) {
				e.refused(d, err)
			}
			e.schedule(t, d, mirror.Jitter(d.wait, 5))
			d.wait = min(2*d.wait, maxRetry)
		}
	})
}

// refused answers requests for the outcome of the first try. The deletion goes on.
func (e *Executor) refused(d *deletion, err error) {
	for n, r := range d.requests {
		if r.Reply && r.First {
			d.requests[n].Reply = false
			e.decided = append(e.decided, decision{r, Outcome{ID: r.ID, State: OutcomeRefused, Error: err.Error()}, true})
			e.store.Hurry()
		}
	}
	e.Flushed()
}

// forget removes the deleted object, or only a reference of an image, from the store at once:
// a client that waited for the deletion must not find it. The source has the last word.
func (e *Executor) forget(t target, d *deletion, whole bool) {
	if v, ok := e.store.Volume(t.key); t.kind == state.Volumes && (!ok || !v.CreatedAt.Equal(d.pin)) {
		return // another one already
	}
	if whole {
		e.store.Forget(t.kind, t.key, "")
	} else {
		e.store.Forget(t.kind, t.key, t.reference)
	}
}

// errChanged says that the mirror has to catch up first.
var errChanged = errors.New("it has just changed")

// remove deletes the object. It returns whether it is gone, whole or only a reference of an
// image, or why not.
func (e *Executor) remove(ctx context.Context, t target, pin time.Time) (gone, whole bool, err error) {
	select {
	case e.deleting <- struct{}{}:
		defer func() { <-e.deleting }()
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	it, err := e.reach(ctx)
	if err != nil {
		return false, false, err
	}
	defer it.Close()
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	defer e.source.Doubting()()
	whole, err = it.remove(ctx, t, pin)
	switch {
	case errors.Is(err, errChanged):
		// It is another volume, or use has changed this one. The mirror will tell.
		_ = e.source.Sync(ctx)
	case cerrdefs.IsNotFound(err):
		return true, whole, nil
	}
	return err == nil, whole, err
}
