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

// Under a storm writing takes at most a tenth of the time, with some that was saved up, and
// the file is never older than a second.
func TestWriteBudget(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		every, slow  time.Duration // what a write costs, and one in a hundred
		least, most  int           // writes in a minute
		longestPause time.Duration // once what was saved up is used up
	}{
		{ms / 2, ms / 2, 5000, 6000, minPause},
		{ms / 2, 60 * ms, 4000, 6000, minPause},
		{5 * ms, 5 * ms, 1200, 1250, 50 * ms},
		{5 * ms, 50 * ms, 1000, 1250, 500 * ms},
		{50 * ms, 50 * ms, 120, 130, 500 * ms},
		{300 * ms, 300 * ms, 60, 61, 700 * ms}, // a second is the stronger promise
		{3000 * ms, 3000 * ms, 20, 21, 0},
	} {
		s, err := OpenStore(filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "l"), state.Instance{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		begin := now
		s.now = func() time.Time { return now }
		writes, longest := 0, time.Duration(0)
		for now.Sub(begin) < time.Minute {
			s.dirty = false
			if _, dirty := s.NextFlush(); dirty {
				t.Error("dirty though nothing changed")
			}
			s.touch()
			wait, dirty := s.NextFlush()
			if !dirty {
				t.Fatal("not dirty though something changed")
			}
			if now.Sub(begin) > 5*time.Second {
				longest = max(longest, wait)
			}
			now = now.Add(wait)
			cost := tt.every
			if writes++; writes%100 == 0 {
				cost = tt.slow
			}
			before := now
			now = now.Add(cost)
			s.spent(before, now)
		}
		if writes < tt.least || writes > tt.most || longest > tt.longestPause {
			t.Errorf("of writes of %v, one in a hundred %v, there are %d in a minute, want %d to %d; the longest pause is %v, want %v",
				tt.every, tt.slow, writes, tt.least, tt.most, longest, tt.longestPause)
		}
	}
}
