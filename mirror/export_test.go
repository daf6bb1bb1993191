package mirror

import (
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Doubt has the engine pinged at once.
func (s *Source) Doubt() { signal(s.doubted) }

// Snapshot returns the state as the next Flush would write it. It shares slices
// and maps with the store: it is for reading, until the next change.
func (s *Store) Snapshot() *state.State {
	return &state.State{
		Head:         s.head,
		Containers:   s.containers.snapshot(),
		Images:       s.images.snapshot(),
		Volumes:      s.volumes.snapshot(),
		Networks:     s.networks.snapshot(),
		Namespaces:   s.namespaces.snapshot(),
		Deleted:      s.deleted,
		DeletedSince: s.since,
	}
}

// snapshot returns all objects with their revisions.
func (t *table[T]) snapshot() map[string]T {
	out := make(map[string]T, len(t.entries))
	for key, e := range t.entries {
		object := e.object
		*t.kind.meta(&object) = e.meta
		out[key] = object
	}
	return out
}
