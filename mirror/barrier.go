package mirror

import "github.com/docker-rd/docker-rd/mirror/state"

// A barrier waits for calls to the engine, lists and lookups, with at least the given numbers.
type barrier struct {
	lists map[state.Kind]uint64
	keys  map[key]uint64

	retries int         // how many failed lookups of an object to put up with
	failed  map[key]int // how many there were
}

func newBarrier(retries int) *barrier {
	return &barrier{lists: map[state.Kind]uint64{}, keys: map[key]uint64{}, retries: retries, failed: map[key]int{}}
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
// not hold up the others for more than some retries.
func (b *barrier) lookedUp(k key, call uint64, failed bool) {
	least, waits := b.keys[k]
	switch {
	case !waits:
	case failed && b.failed[k] < b.retries:
		b.failed[k]++
	case failed, call >= least:
		delete(b.keys, k)
	}
}

// open reports whether the barrier waits for nothing any more.
func (b *barrier) open() bool { return len(b.lists)+len(b.keys) == 0 }
