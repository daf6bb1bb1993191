package client

import (
	"context"
	"fmt"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// LastFailure returns why the instance is down for good, nil if it is not: its engine is in a
// crash loop, or the last start or stop has failed and nobody has started it since.
func LastFailure(o instance.Observation) *state.Failure {
	switch {
	case o.State == nil || o.State.LastFailure == nil:
		return nil
	case o.Live && o.Condition(state.EngineReady).Reason == state.ReasonCrashLoop:
		return o.State.LastFailure
	case o.Live || o.Supervised:
		return nil
	}
	return o.State.LastFailure
}

// Failed returns the error for an instance that is down for good, see [LastFailure]: there
// is nothing to wait for. If a start is in progress, it waits for its end, or that of ctx.
func Failed(ctx context.Context, i *instance.Instance, o instance.Observation) error {
	if LastFailure(o) == nil {
		return nil
	}
	if !o.Live {
		release, err := lock.Acquire(ctx, i.Paths.StartLock())
		if err != nil {
			return nil // still being started, or removed
		}
		release()
		o = instance.Observe(i)
	}
	if f := LastFailure(o); f != nil {
		return engineFailed(i, f.Message, f)
	}
	return nil
}

// engineFailed returns the error for an engine that failed with a message, and with the remedy that
// the supervisor knew, if any.
func engineFailed(i *instance.Instance, message string, f *state.Failure) error {
	err := problem(i, EngineFailed, fmt.Errorf("instance %q: %s", i.Name, message))
	if f != nil && f.Hint != "" {
		return failure.WithHint(err, "%s", f.Hint)
	}
	return err
}
