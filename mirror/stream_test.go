package mirror

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Events that were replayed, or that have waited for as long as the engine lets them
// wait, tell that others may be lost, and a wrong time that the engine's clock was set.
func TestLateEvents(t *testing.T) {
	const offset = -time.Hour // the engine's clock
	now := time.Now().Add(offset)
	var text strings.Builder
	for _, at := range []time.Duration{-20 * time.Millisecond, time.Second, -time.Hour, -time.Hour, -time.Hour - time.Second, 0} {
		fmt.Fprintf(&text, `{"Type":"container","timeNano":%d}`, now.Add(at).UnixNano())
	}
	s := newStream(strings.NewReader(text.String()+`{"Type":"volume"}`), engineClock{offset: offset, margin: time.Millisecond})
	for n, want := range []struct{ late, jumped bool }{
		{true, false},  // replayed
		{false, false}, // it tells of what has just happened
		{false, true},  // an hour back
		{false, false}, // the new time is as good as the old one was
		{true, false},  // late by a second
		{false, true},  // an hour on
		{false, false}, // without a time
	} {
		_, late, jumped, err := s.next()
		if err != nil || late != want.late || jumped != want.jumped {
			t.Errorf("event %d: late %v, jumped %v, error %v, want %+v", n, late, jumped, err, want)
		}
	}
	if _, _, _, err := s.next(); err == nil || err.Error() != "the engine ended it" {
		t.Errorf("the error at the end is %v", err)
	}
}
