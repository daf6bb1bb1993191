package mirror

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestPace(t *testing.T) {
	begin := time.Now()
	for _, test := range []struct{ took, urgent, idle time.Duration }{
		{time.Millisecond, 9 * time.Millisecond, time.Second},
		{50 * time.Millisecond, 450 * time.Millisecond, 2450 * time.Millisecond},
		{10 * time.Second, time.Second, 30 * time.Second},
	} {
		var p pace
		for urgent, want := range map[bool]time.Duration{true: test.urgent, false: test.idle} {
			if due := (pace{}).due(urgent); due.After(begin) {
				t.Errorf("the first list is due in %v", due.Sub(begin))
			}
			end := begin.Add(test.took)
			p.listed(begin, end)
			if got := p.due(urgent).Sub(end); got != want {
				t.Errorf("a list that took %v, urgent %v: the next in %v, want %v", test.took, urgent, got, want)
			}
		}
	}
}

// Under a storm writing takes at most a tenth of the time, and the file is never older than a
// second.
func TestWritePace(t *testing.T) {
	const ms = time.Millisecond
	for cost, want := range map[time.Duration]time.Duration{
		ms / 2: minPause, 5 * ms: 70 * ms, 50 * ms: 700 * ms, 300 * ms: 500 * ms, 3 * time.Second: 0,
	} {
		s, err := OpenStore(filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "l"), state.Instance{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		s.now = func() time.Time { return now }
		s.dirty = false
		if _, dirty := s.NextFlush(); dirty {
			t.Error("dirty though nothing changed")
		}
		s.touch()
		s.lastWrite, s.cost = now, cost
		if wait, dirty := s.NextFlush(); !dirty || wait != want {
			t.Errorf("after a write of %v: wait %v, dirty %v, want %v", cost, wait, dirty, want)
		}
		s.urgent = true
		if wait, _ := s.NextFlush(); wait != 0 {
			t.Errorf("somebody waits for a condition, but %v", wait)
		}
	}
}

// One slow write hardly delays the next, and many do so by what they take.
func TestWriteCost(t *testing.T) {
	s := &Store{}
	for range 10 {
		s.spent(2 * time.Millisecond)
	}
	if s.spent(42 * time.Millisecond); s.cost > 3*time.Millisecond {
		t.Errorf("after a slow write among fast ones the cost is %v", s.cost)
	}
	for range 20 {
		s.spent(42 * time.Millisecond)
	}
	if s.cost < 41*time.Millisecond {
		t.Errorf("after slow writes the cost is %v", s.cost)
	}
}
