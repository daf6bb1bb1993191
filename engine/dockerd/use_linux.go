package dockerd

import (
	"context"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

const (
	// useInterval is how often the use of the companions is looked at.
	useInterval = time.Minute
	// busyShare is the part of a processor from which on a companion is said to be busy.
	busyShare = 0.3
)

// watchUse notices companions that take much of a processor: almost nothing is what they take
// where nothing goes through them. It returns when ctx ends. (slirp4netns has one thread, so one
// processor is the most that it can take.)
func (e *Engine) watchUse(ctx context.Context, interval time.Duration, share float64) {
	type use struct {
		id  process.ID
		cpu time.Duration
	}
	was := map[string]use{}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for last := time.Now(); ; {
		now, rec := time.Now(), e.cfg.readEngineFile()
		for name, id := range map[string]process.ID{"slirp4netns": rec.Slirp, "the relay of name queries": rec.Relay, "the broker of published ports": rec.Broker} {
			sentence := ""
			if stat, err := process.ReadStat(id.PID); err == nil && stat.StartTime == id.StartTime {
				if before := was[name]; before.id == id && float64(stat.CPU-before.cpu) > share*float64(now.Sub(last)) {
					sentence = name + " is busy: it takes much of a processor"
				}
				was[name] = use{id, stat.CPU}
			}
			e.problems.set("use of "+name, sentence)
		}
		last = now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
