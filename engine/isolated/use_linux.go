package isolated

import (
	"context"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

const (
	// useInterval is how often the processor time of the companions is read.
	useInterval = time.Minute
	// busyShare is the share of a processor above which a companion is busy.
	busyShare = 0.3
)

// watchUse reports companions that use much of a processor, until ctx ends. Without traffic they use
// almost nothing. (slirp4netns has one thread, so it uses one processor at most.)
func (e *Engine) watchUse(ctx context.Context, interval time.Duration, share float64) {
	type use struct {
		id  process.ID
		cpu time.Duration
	}
	was := map[string]use{}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for last := time.Now(); ; {
		now := time.Now()
		for _, c := range companions {
			name, id, sentence := c.name, e.companion(c), ""
			if stat, err := process.ReadStat(id.PID); err == nil && stat.StartTime == id.StartTime {
				if before := was[name]; before.id == id && float64(stat.CPU-before.cpu) > share*float64(now.Sub(last)) {
					sentence = name + " is busy: it uses much of a processor"
				}
				was[name] = use{id, stat.CPU}
			}
			e.problems.Set("use of "+name, sentence)
		}
		last = now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
