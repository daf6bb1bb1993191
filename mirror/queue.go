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

// A queue holds the objects to look up, each once. One that is added while it is in flight is
// handed out again afterwards: the answer under way may be older than what it was added for.
// Urgent ones and others are handed out in turns, or a storm would keep a full sync from ever
// being complete. A queue belongs to one goroutine.
type queue struct {
	items        map[key]*item
	urgent, bulk []key
	bulkNext     bool // whose turn it is where both wait
	retries      retries
	flying       int
}

// An item is an object that is in the queue, in flight, or to be looked up again later.
type item struct {
	queued, urgent bool
	call           uint64 // the number of the call that looks it up, 0 for none
	again          bool   // added while in flight
	next, flying   attributes
	at             time.Time // when it is looked up again by itself, zero for never
}

// attributes are what is known of a flight.
type attributes struct {
	marked bool // an event named the object
	gone   bool // the engine reported its end: what is there now was made anew
	// Of a flight that is a retry: the wait before, and what was found then.
	wait time.Duration
	seen any
}

// A flight is one that has ended.
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

// mark has an object looked up urgently that an event named. That it was to be looked up
// again by itself is another matter now.
func (q *queue) mark(k key, gone bool) {
	i := q.item(k)
	i.at = time.Time{}
	i.next = attributes{marked: true, gone: gone || i.next.gone}
	q.add(k, true)
}

// add has an object looked up, before others if that is urgent.
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

// waiting reports whether there is something to hand out; with bulk also what is not urgent.
func (q *queue) waiting(bulk bool) bool { return len(q.urgent) > 0 || bulk && len(q.bulk) > 0 }

// next hands out an object for the call of the given number.
func (q *queue) next(call uint64, bulk bool) (k key, ok bool) {
	for q.waiting(bulk) {
		if len(q.urgent) > 0 && !(bulk && q.bulkNext && len(q.bulk) > 0) {
			k, q.urgent = q.urgent[0], q.urgent[1:]
			q.bulkNext = true
		} else {
			k, q.bulk = q.bulk[0], q.bulk[1:]
			q.bulkNext = false
		}
		// Else it was in both lists and has had its turn.
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

// done ends a flight. An object that was added meanwhile is in the queue again, urgently, and
// with what was known of the flight.
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

// retry has an object looked up again, not urgently, after the wait, and notes what was seen
// of it now and whether it is still to be told as gone.
func (q *queue) retry(k key, now time.Time, wait time.Duration, seen any, gone bool) {
	i := q.item(k)
	i.at = now.Add(wait)
	i.next = attributes{marked: true, gone: gone, wait: wait, seen: seen}
	heap.Push(&q.retries, timed{i.at, k})
}

// due queues the objects whose retry has come.
func (q *queue) due(now time.Time) {
	for len(q.retries) > 0 && !now.Before(q.retries[0].at) {
		r := heap.Pop(&q.retries).(timed)
		if i := q.items[r.key]; i != nil && i.at.Equal(r.at) { // else it was put off
			i.at = time.Time{}
			q.add(r.key, false)
		}
	}
}

// wake returns when a retry is due next; ok is false where there is none.
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
