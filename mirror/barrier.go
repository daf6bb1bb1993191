package mirror

import "github.com/docker-rd/docker-rd/mirror/state"

// A barrier waits for calls to the engine, lists and lookups, with at least the given numbers.
type barrier struct {
	lists map[state.Kind]uint64
	keys  map[key]uint64
}

func newBarrier() *barrier {
	return &barrier{lists: map[state.Kind]uint64{}, keys: map[key]uint64{}}
}

// listed notes the answer to a list call. If the barrier waited for it, it now waits for the
// lookups of details, from the number least on.
func (b *barrier) listed(kind state.Kind, call uint64, details []key, least uint64) {
	if wanted, waits := b.lists[kind]; !waits || call < wanted {
		return
	}
	delete(b.lists, kind)
	for _, k := range details {
		b.keys[k] = least
	}
}

// lookedUp notes the answer to a lookup, or its failure: one object that can't be inspected does
// not hold up the others.
func (b *barrier) lookedUp(k key, call uint64, failed bool) {
	if least, waits := b.keys[k]; waits && (failed || call >= least) {
		delete(b.keys, k)
	}
}

// open reports whether the barrier waits for nothing any more.
func (b *barrier) open() bool { return len(b.lists)+len(b.keys) == 0 }
