package mirror

import (
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// drain hands out everything and returns the ids in order.
func drain(q *queue, bulk bool) (ids []string) {
	for {
		k, ok := q.next(1, bulk)
		if !ok {
			return ids
		}
		ids = append(ids, k.id)
	}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

func at(id string) key { return key{state.Containers, id} }

func TestQueue(t *testing.T) {
	q := newQueue()
	for _, id := range []string{"b1", "b2", "b3", "b1"} {
		q.add(at(id), false)
	}
	for _, id := range []string{"u1", "u2", "u1", "b3"} {
		q.add(at(id), true)
	}
	want(t, "urgent ones alone", drain(q, false), "u1", "u2", "b3")
	want(t, "the others", drain(q, true), "b1", "b2")
	if q.flying != 5 {
		t.Errorf("%d are in flight", q.flying)
	}

	// In flight: handed out again afterwards, once, and urgently.
	q.add(at("b1"), false)
	q.mark(at("b1"), true)
	want(t, "while in flight", drain(q, true))
	if f := q.done(at("b1")); !f.again || f.gone || f.marked {
		t.Errorf("the flight was %+v", f)
	}
	want(t, "afterwards", drain(q, false), "b1")
	if f := q.done(at("b1")); f.again || !f.gone || !f.marked || f.call != 1 {
		t.Errorf("the flight was %+v", f)
	}

	for _, id := range []string{"b2", "b3", "u1", "u2"} {
		q.done(at(id))
	}
	if len(q.items) != 0 || q.flying != 0 {
		t.Errorf("left are %v", q.items)
	}

	// In turns.
	for _, id := range []string{"b1", "b2"} {
		q.add(at(id), false)
	}
	for _, id := range []string{"u1", "u2", "u3"} {
		q.add(at(id), true)
	}
	want(t, "in turns", drain(q, true), "b1", "u1", "b2", "u2", "u3")
}

func TestQueueRetries(t *testing.T) {
	q, now := newQueue(), time.Now()
	q.mark(at("a"), false)
	drain(q, true)
	q.done(at("a"))
	q.retry(at("a"), now, 2*time.Second, "seen", false)
	q.retry(at("b"), now, time.Second, nil, true)
	q.retry(at("c"), now, time.Second, nil, false)
	q.mark(at("c"), false) // it is another matter now
	want(t, "at once", drain(q, true), "c")
	if f := q.done(at("c")); f.wait != 0 {
		t.Errorf("the flight was %+v", f)
	}
	q.due(now)
	want(t, "too early", drain(q, true))
	if wake, ok := q.wake(); !ok || !wake.Equal(now.Add(time.Second)) {
		t.Errorf("the next is due at %v", wake)
	}
	q.due(now.Add(time.Second))
	want(t, "after a second", drain(q, true), "b")
	if f := q.done(at("b")); !f.gone || f.wait != time.Second {
		t.Errorf("the flight was %+v", f)
	}
	q.due(now.Add(time.Minute))
	want(t, "later", drain(q, true), "a")
	if f := q.done(at("a")); f.seen != "seen" {
		t.Errorf("the flight was %+v", f)
	}
	if _, ok := q.wake(); ok || len(q.items) != 0 {
		t.Errorf("left are %v", q.items)
	}
}
