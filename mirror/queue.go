package mirror

import (
	"container/heap"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A key names an object of the engine.
type key struct {
	kind state.Kind
	id   string
}

// A queue holds the objects to look up, each once. An object that is added while in flight is
// handed out again afterwards: the pending answer may be older than the reason for adding it.
// Urgent and other objects take turns, or a full sync would never end during a storm. A queue
// belongs to one goroutine.
type queue struct {
	items        map[key]*item
	urgent, bulk []key
	bulkNext     bool // whose turn it is where both wait
	retries      retries
	flying       int
}

// An item is an object that is queued, in flight, or waiting for a retry.
type item struct {
	queued, urgent bool
	call           uint64 // the number of the lookup in flight, 0 for none
	again          bool   // added while in flight
	next, flying   attributes
	at             time.Time // when the retry is due, zero for none
}

type attributes struct {
	marked bool // an event named the object
	gone   bool // the engine reported its end: an object found now is a new one
	// Of a retry: the wait before it, and what was found then.
	wait time.Duration
	seen any
}

// A flight is a lookup that has ended.
type flight struct {
	attributes
	call  uint64
	again bool // the object is in the queue once more
}

func newQueue() *queue { return &queue{items: map[key]*item{}} }

func (q *queue) item(k key) *item {
	i := q.items[k]
	if i == nil {
		i = &item{}
		q.items[k] = i
	}
	return i
}

// mark queues an object that an event named, urgently, and drops its retry.
func (q *queue) mark(k key, gone bool) {
	i := q.item(k)
	i.at = time.Time{}
	i.next = attributes{marked: true, gone: gone || i.next.gone}
	q.add(k, true)
}

func (q *queue) add(k key, urgent bool) {
	i := q.item(k)
	if i.call != 0 {
		i.again = true
		return
	}
	if urgent && !i.urgent {
		i.urgent = true
		q.urgent = append(q.urgent, k)
	}
	if !urgent && !i.queued {
		q.bulk = append(q.bulk, k)
	}
	i.queued = true
}

// waiting reports whether next would return an object.
func (q *queue) waiting(bulk bool) bool { return len(q.urgent) > 0 || bulk && len(q.bulk) > 0 }

// next hands out an object for the lookup of the given number: with bulk also one that is not
// urgent.
func (q *queue) next(call uint64, bulk bool) (k key, ok bool) {
	for q.waiting(bulk) {
		if len(q.urgent) > 0 && !(bulk && q.bulkNext && len(q.bulk) > 0) {
			k, q.urgent = q.urgent[0], q.urgent[1:]
			q.bulkNext = true
		} else {
			k, q.bulk = q.bulk[0], q.bulk[1:]
			q.bulkNext = false
		}
		// Else it was in both lists, and is in flight already.
		if i := q.items[k]; i != nil && i.queued {
			i.queued, i.urgent, i.call = false, false, call
			i.flying, i.next = i.next, attributes{}
			q.flying++
			return k, true
		}
	}
	return k, false
}

// inFlight returns the ids of the kind's objects that are in flight.
func (q *queue) inFlight(kind state.Kind) map[string]bool {
	ids := map[string]bool{}
	for k, i := range q.items {
		if k.kind == kind && i.call != 0 {
			ids[k.id] = true
		}
	}
	return ids
}

// done ends a lookup. An object that was added meanwhile is queued again, urgently.
func (q *queue) done(k key) flight {
	i := q.items[k]
	f := flight{attributes: i.flying, call: i.call, again: i.again}
	q.flying--
	i.call, i.again, i.flying = 0, false, attributes{}
	switch {
	case f.again:
		i.next.marked = i.next.marked || f.marked
		q.add(k, true)
	case i.at.IsZero():
		delete(q.items, k)
	}
	return f
}

// retry queues an object again after the wait, not urgently. Seen is what was found now; gone
// is as in attributes.
func (q *queue) retry(k key, now time.Time, wait time.Duration, seen any, gone bool) {
	i := q.item(k)
	i.at = now.Add(wait)
	i.next = attributes{marked: true, gone: gone, wait: wait, seen: seen}
	heap.Push(&q.retries, timed{i.at, k})
}

// due queues the objects whose retry is due.
func (q *queue) due(now time.Time) {
	for len(q.retries) > 0 && !now.Before(q.retries[0].at) {
		r := heap.Pop(&q.retries).(timed)
		if i := q.items[r.key]; i != nil && i.at.Equal(r.at) { // else it was superseded
			i.at = time.Time{}
			q.add(r.key, false)
		}
	}
}

// wake returns when the next retry is due; ok is false if there is none.
func (q *queue) wake() (at time.Time, ok bool) {
	if len(q.retries) == 0 {
		return at, false
	}
	return q.retries[0].at, true
}

// retries is a heap by time.
type retries []timed

type timed struct {
	at  time.Time
	key key
}

func (r retries) Len() int           { return len(r) }
func (r retries) Less(a, b int) bool { return r[a].at.Before(r[b].at) }
func (r retries) Swap(a, b int)      { r[a], r[b] = r[b], r[a] }
func (r *retries) Push(x any)        { *r = append(*r, x.(timed)) }
func (r *retries) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}
