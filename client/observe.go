package client

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Stopped reports whether the instance has neither a supervisor nor anything of an engine
// that runs.
func Stopped(i *instance.Instance) bool {
	if held, err := lock.Held(i.Paths.SupervisorLock()); err != nil || held {
		return false
	}
	return engineGone(i)
}

// engineGone reports whether nothing of the instance's engine runs.
func engineGone(i *instance.Instance) bool {
	driver, err := engine.DriverFor(i, nil)
	return err == nil && driver.Life() == engine.Gone
}

// stoppedInterval is how often AwaitStopped looks: nothing tells of the end of what has no
// supervisor.
const stoppedInterval = 50 * time.Millisecond

// AwaitStopped returns nil when the instance is [Stopped], and the context's error when it
// ends first.
func AwaitStopped(ctx context.Context, i *instance.Instance) error {
	tick := time.NewTicker(stoppedInterval)
	defer tick.Stop()
	for !Stopped(i) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// RefuseNewer returns a refusal where err, of reading the instance's state, says that a later version wrote it; otherwise nil.
func RefuseNewer(i *instance.Instance, err error) error {
	if _, ok := errors.AsType[*state.NewerSchemaError](err); !ok {
		return nil
	}
	return problem(i, TooNew, failure.Refuse("instance %q: %w", i.Name, err))
}

// Follow calls f with what can be seen of the instance, now and after each change of
// its state file or the end of its supervisor, until f returns false or an error, or
// ctx ends; that is the error then.
func Follow(ctx context.Context, i *instance.Instance, f func(instance.Observation) (more bool, err error)) error {
	return followAs(ctx, i, true, f)
}

// FollowObjects is [Follow] with states that have their objects, which costs more. A
// state file that is missing or can't be read shows in StateErr.
func FollowObjects(ctx context.Context, i *instance.Instance, f func(instance.Observation) (more bool, err error)) error {
	return followAs(ctx, i, false, f)
}

func followAs(ctx context.Context, i *instance.Instance, head bool, f func(instance.Observation) (bool, error)) error {
	for {
		again, err := follow(ctx, i, head, f)
		if !again {
			return err
		}
	}
}

// follow is one round of Follow: it ends when the supervisor that it watches does.
func follow(ctx context.Context, i *instance.Instance, head bool, f func(instance.Observation) (bool, error)) (again bool, err error) {
	round, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := false
	follower := state.Follower{Path: i.Paths.StateFile(), Head: head}
	for s, readErr := range follower.States(round) {
		o := instance.Observe(i)
		if head {
			if s == nil && readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
				o.StateErr = readErr
			}
		} else {
			// The objects and the rest must be of one state.
			o.State, o.StateErr, o.Live = s, readErr, instance.Live(s)
		}
		more, err := f(o)
		if !more || err != nil {
			return false, err
		}
		if o.Live && !watched {
			watched = true
			id := instance.SupervisorID(o.State)
			go func() {
				if id.Wait(round) == nil {
					cancel(errSupervisorEnded)
				}
			}()
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return errors.Is(context.Cause(round), errSupervisorEnded), nil
}

var errSupervisorEnded = errors.New("the supervisor has ended")
