package mirror

import (
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Update is what a [Source] has learned. All fields are optional.
type Update struct {
	// Changes are applied in order.
	Changes []Change
	// Engine is the engine's description of itself, without PID and StartedAt.
	Engine *state.Engine
	// Sync is the state of the mirror.
	Sync *Sync
	// Events counts all events so far.
	Events uint64
}

// Sync is the state of the mirror: the condition MirrorSynced and what belongs to it.
type Sync struct {
	Connected bool
	Status    state.Status
	Reason    state.Reason
	Message   string
	// SyncedAt is when the last full sync ended, Resyncs how many there were.
	SyncedAt time.Time
	Resyncs  uint64
}

// A Change changes the objects of one kind.
type Change struct {
	Kind state.Kind
	// Gone are removed objects. They are removed before Objects are added: an object in both
	// is a new one, on which nothing is recorded.
	Gone []Gone
	// Objects are new or changed objects of the kind: state.Container, state.Image,
	// state.Volume, state.Network or state.Namespace values. They keep the requests and
	// outcomes recorded on the ones they replace.
	Objects []any
	// Replace says that Objects is complete. Keys in Except are left alone: something newer
	// is known of them.
	Replace bool
	Except  map[string]bool
	// Partial says that the objects lack fields: each is only better than none.
	Partial bool
}

// Gone names a removed object. With a name it leaves a tombstone even if the mirror has never
// seen it: a container may live for a moment only.
type Gone struct{ Key, Name string }

func (u *Update) empty() bool {
	return len(u.Changes) == 0 && u.Engine == nil && u.Sync == nil
}

// add adds a change, and merges plain changes of one kind.
func (u *Update) add(c Change) {
	if n := len(u.Changes); n > 0 {
		last := &u.Changes[n-1]
		if last.Kind == c.Kind && !last.Replace && !c.Replace && !last.Partial && !c.Partial && len(c.Gone) == 0 {
			last.Objects = append(last.Objects, c.Objects...)
			return
		}
	}
	u.Changes = append(u.Changes, c)
}
