package isolated

import (
	"context"
	"errors"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

const (
	// useInterval is how often the processor time of a companion is read.
	useInterval = time.Minute
	// busyShare is the share of a processor above which a companion is busy.
	busyShare = 0.3
)

// watchUse waits until a companion has ended, and reports whether it has before ctx. Meanwhile it
// reports one that uses much of a processor. Without traffic they use almost nothing. (slirp4netns has
// one thread, so it uses one processor at most.)
func (e *Engine) watchUse(ctx context.Context, name string, id process.ID, interval time.Duration, share float64) (ended bool) {
	subject := "use of " + name
	defer e.problems.Set(subject, "")
	for was, last := cpu(id), time.Now(); ; {
		tick, cancel := context.WithTimeout(ctx, interval)
		err := id.Wait(tick)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err == nil
		}
		used, now := cpu(id), time.Now()
		if float64(used-was) > share*float64(now.Sub(last)) {
			e.problems.Set(subject, name+" is busy: it uses much of a processor")
		} else {
			e.problems.Set(subject, "")
		}
		was, last = used, now
	}
}

// cpu returns the processor time that a process has used.
func cpu(id process.ID) time.Duration {
	stat, _ := process.ReadStat(id.PID) // none if it has just ended
	return stat.CPU
}
