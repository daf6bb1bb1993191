package client

import (
	"testing"
	"time"
)

// A start is waited for as long as the engine makes progress, but not for ever.
func TestPatience(t *testing.T) {
	for name, tc := range map[string]struct {
		sizes []int64 // at the beginning, and with each tick, a minute apart
		want  int     // the tick that ends it
	}{
		"nothing happens":   {[]int64{-1, -1, -1, -1}, 2},
		"progress":          {[]int64{0, 1, 1, 2, 2, 3, 3, 3}, 7},
		"progress for ever": {[]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21}, 20},
	} {
		begin := time.Unix(1000, 0)
		looks := 0
		size := func() int64 {
			looks++
			return tc.sizes[looks-1]
		}
		ticks := make(chan time.Time, len(tc.sizes))
		for n := range tc.sizes {
			ticks <- begin.Add(time.Duration(n+1) * time.Minute)
		}
		if !awaitStandstill(t.Context(), 2*time.Minute, begin, ticks, size) {
			t.Fatalf("%s: it ended with the context", name)
		}
		if got := looks - 1; got != tc.want {
			t.Errorf("%s: it ended with tick %d, want %d", name, got, tc.want)
		}
	}
}
