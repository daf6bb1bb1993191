package mirror

import (
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Update is what a [Source] learned. Every part of it is optional.
type Update struct {
	// Changes apply in their order.
	Changes []Change
	// Engine is what the engine says of itself. PID and StartedAt are not set: they
	// are its keeper's to know.
	Engine *state.Engine
	// Sync is how far the mirror is.
	Sync *Sync
	// Events counts the engine's events so far, those that changed nothing included.
	Events uint64
}

// Sync is how far the mirror is: the condition MirrorSynced and what belongs to it.
type Sync struct {
	Connected bool
	Status    state.Status
	Reason    state.Reason
	Message   string
	// SyncedAt is when the last full sync was complete, Resyncs how many were.
	SyncedAt time.Time
	Resyncs  uint64
}

// A Change changes the objects of one kind.
type Change struct {
	Kind state.Kind
	// Gone are objects that went. They go before Objects come: an object in both was
	// made anew and keeps nothing that was recorded on the old one.
	Gone []Gone
	// Objects are new or changed objects of the kind: state.Container, state.Image,
	// state.Volume, state.Network or state.Namespace values. Requests and outcomes
	// recorded on the ones they replace stay.
	Objects []any
	// Replace says that Objects are all there are. Except are keys that this does
	// not count for, because something newer is known of them.
	Replace bool
	Except  map[string]bool
	// Listed says that the objects come from a list call, which lacks details: what
	// it can't know stays as it was.
	Listed bool
}

// Gone names an object that went. With a name it leaves a tombstone even where the mirror
// never saw it: a container that came and went in a moment.
type Gone struct{ Key, Name string }

func (u *Update) empty() bool {
	return len(u.Changes) == 0 && u.Engine == nil && u.Sync == nil
}

// add adds a change, to the last one where it is a plain change of the same kind.
func (u *Update) add(c Change) {
	if n := len(u.Changes); n > 0 {
		last := &u.Changes[n-1]
		if last.Kind == c.Kind && !last.Replace && !c.Replace && !last.Listed && !c.Listed && len(c.Gone) == 0 {
			last.Objects = append(last.Objects, c.Objects...)
			return
		}
	}
	u.Changes = append(u.Changes, c)
}
