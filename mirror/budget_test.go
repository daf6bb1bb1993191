package mirror

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A budget lets the calls use a fifth of a processor, more for a moment, and never
// nothing.
func TestBudget(t *testing.T) {
	var used time.Duration
	now := time.Now()
	b := budget{used: func() time.Duration { return used }}
	b.fill(now)
	run := func(load float64, cost time.Duration) (calls int) {
		const step = time.Millisecond
		for range 10 * time.Second / step {
			if !now.Before(b.pause(now)) {
				used += cost
				calls++
			}
			now = now.Add(step)
			used += time.Duration(load * float64(step))
		}
		return calls
	}
	for _, tt := range []struct {
		load     float64
		cost     time.Duration
		min, max int // calls in ten seconds; 10,000 for all
	}{
		{0, 100 * time.Microsecond, 10000, 10000},
		{0, time.Millisecond, 1900, 2400},
		{0.1, time.Millisecond, 950, 1400},
		{0.5, time.Millisecond, 90, 1300},
		{0.5, time.Second, 9, 100},
	} {
		b.fill(now)
		if calls := run(tt.load, tt.cost); calls < tt.min || calls > tt.max {
			t.Errorf("with a load of %v, %d calls of %v were made in 10 s, want %d to %d", tt.load, calls, tt.cost, tt.min, tt.max)
		}
	}
	b = budget{}
	if p := b.pause(now); !p.IsZero() {
		t.Errorf("no budget, but a pause until %v", p)
	}
}

// Under a storm writing takes at most a twentieth of the time, and the file is never
// older than a second.
func TestWriteBudget(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(filepath.Join(dir, "s"), filepath.Join(dir, "l"), state.Instance{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	for n, tt := range []struct{ cost, want time.Duration }{
		{0, minPause},
		{time.Millisecond / 2, minPause},
		{10 * time.Millisecond, 190 * time.Millisecond},
		{40 * time.Millisecond, 760 * time.Millisecond},
		{300 * time.Millisecond, 700 * time.Millisecond}, // a second is the stronger promise
		{3 * time.Second, 0},
	} {
		s.dirty, s.lastWrite, s.lastCost = false, now, tt.cost
		if _, dirty := s.NextFlush(); dirty {
			t.Error("dirty though nothing changed")
		}
		s.SetEngineProcess(n+1, time.Time{})
		if wait, dirty := s.NextFlush(); !dirty || wait != tt.want {
			t.Errorf("after a write of %v the next waits %v (dirty %v), want %v", tt.cost, wait, dirty, tt.want)
		}
	}
}
