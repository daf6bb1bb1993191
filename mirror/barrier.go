package mirror

import "github.com/docker-rd/docker-rd/mirror/state"

// A barrier waits for calls to the engine: for each kind a list, and for each object a lookup,
// that began late enough to show what it is waited for. Calls are numbered.
type barrier struct {
	lists map[state.Kind]uint64
	keys  map[key]uint64
}

func newBarrier() *barrier {
	return &barrier{lists: map[state.Kind]uint64{}, keys: map[key]uint64{}}
}

// listed notes that the list call of the number is answered. Where it was waited for, so are
// lookups of its details from the given number on.
func (b *barrier) listed(kind state.Kind, call uint64, details []key, least uint64) {
	if wanted, waits := b.lists[kind]; !waits || call < wanted {
		return
	}
	delete(b.lists, kind)
	for _, k := range details {
		b.keys[k] = least
	}
}

// lookedUp notes that the lookup of the number is answered, or has failed: one object that
// can't be inspected does not hold up the others.
func (b *barrier) lookedUp(k key, call uint64, failed bool) {
	if least, waits := b.keys[k]; waits && (failed || call >= least) {
		delete(b.keys, k)
	}
}

// open reports whether everything is there.
func (b *barrier) open() bool { return len(b.lists)+len(b.keys) == 0 }
