package mirror

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// Under a storm writing takes at most a tenth of the time, and the file is never
// older than a second.
func TestWriteBudget(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenStore(filepath.Join(dir, "s"), filepath.Join(dir, "l"), state.Instance{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	for _, tt := range []struct{ cost, want time.Duration }{
		{0, 0},
		{10 * time.Millisecond, 90 * time.Millisecond},
		{90 * time.Millisecond, 810 * time.Millisecond},
		{300 * time.Millisecond, 700 * time.Millisecond}, // a second is the stronger promise
		{3 * time.Second, 0},
	} {
		s.dirty, s.lastWrite, s.lastCost = false, now, tt.cost
		if _, dirty := s.NextFlush(); dirty {
			t.Error("dirty though nothing changed")
		}
		s.SetInstance(state.Instance{Name: tt.cost.String()})
		if wait, dirty := s.NextFlush(); !dirty || wait != tt.want {
			t.Errorf("after a write of %v the next waits %v (dirty %v), want %v", tt.cost, wait, dirty, tt.want)
		}
	}
}
