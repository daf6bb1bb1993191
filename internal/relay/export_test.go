package relay

import (
	"testing"
	"time"
)

// SetGrace changes how long engines get until the test ends.
func SetGrace(t testing.TB, d time.Duration) {
	was := grace
	grace = d
	t.Cleanup(func() { grace = was })
}
