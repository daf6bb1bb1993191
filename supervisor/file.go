package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// fileRun is the state file as the loop sees it.
type fileRun struct {
	announced      bool      // it says that the instance is ready
	unwrittenSince time.Time // zero while it can be written
	gone           bool      // with its directory: a file there now is another instance's
}

// openStore opens the instance's state for writing. The caller holds the supervisor lock.
func openStore(inst *instance.Instance, driver engine.Driver, log *slog.Logger) (*mirror.Store, error) {
	host := ""
	if ep, err := driver.Endpoint(); err == nil {
		host = ep.Shown()
	}
	store, err := mirror.OpenStore(inst.Paths.StateFile(), inst.Paths.StateLock(), inst.Describe(host), log.With("part", "mirror"))
	if err != nil {
		return nil, fmt.Errorf("state of instance %q: %w", inst.Name, err)
	}
	return store, nil
}

// watchState rewrites a state file that somebody has removed or damaged. Otherwise followers
// would wait for the next change, which may be far off.
func (l *loop) watchState() {
	dirs := func() []string { return []string{l.inst.Paths.State} }
	l.watch(l.ctx, "state", dirs, func(send func(event)) (more bool) {
		send(stateTouched{})
		return true
	})
}

// flushWhenDue writes the state if it is due, and sets the timer for the next write.
func (l *loop) flushWhenDue(timer *time.Timer) {
	wait, dirty := l.store.NextFlush()
	if dirty && wait <= 0 {
		l.flush()
		wait, dirty = l.store.NextFlush()
	}
	if dirty && !l.file.gone { // not yet, or not written
		timer.Reset(wait)
	}
}

// flushTimeout bounds the wait for the state lock, which others hold for moments.
const flushTimeout = time.Second

func (l *loop) flush() {
	if l.file.gone {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, flushTimeout)
	defer cancel()
	if err := l.store.Flush(ctx); err != nil {
		l.log.Error("state not written", "error", err) // it is tried again
		l.unwritten(err)
		return
	}
	l.file.unwrittenSince = time.Time{}
	if l.published[state.Ready].Status == state.True && !l.file.announced {
		l.file.announced = true
		l.notify.send("READY=1")
	}
	if l.mirror.executor != nil && l.stop == nil {
		l.mirror.executor.Flushed()
	}
}

// unwrittenPatience is how long the state of a start may remain unwritten.
const unwrittenPatience = time.Second

// unwritten deals with a state that could not be written. A start is given up after a while,
// since nobody can learn how it went. An engine that ran before goes on without a supervisor.
func (l *loop) unwritten(err error) {
	if l.file.announced || l.stop != nil || errors.Is(err, lock.ErrHeld) {
		return
	}
	if l.file.unwrittenSince.IsZero() {
		l.file.unwrittenSince = time.Now()
	}
	switch {
	case time.Since(l.file.unwrittenSince) < unwrittenPatience:
	case l.engine.adopted:
		l.done, l.err = true, err
	default:
		l.engine.reason, l.engine.message = state.ReasonFailed, err.Error()
		l.shutDown(stopRun{failure: err})
	}
}
