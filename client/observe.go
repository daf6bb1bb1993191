package client

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Stopped reports whether neither a supervisor nor any part of an engine runs.
func Stopped(i *instance.Instance) bool {
	if held, err := lock.Held(i.Paths.SupervisorLock()); err != nil || held {
		return false
	}
	return engineGone(i)
}

// engineGone reports whether no part of the instance's engine runs.
func engineGone(i *instance.Instance) bool {
	driver, err := engine.DriverFor(i, nil)
	return err == nil && driver.Life() == engine.Gone
}

// stoppedInterval is how often AwaitStopped polls: the end of an engine without a supervisor has
// no notification.
const stoppedInterval = 50 * time.Millisecond

// AwaitStopped waits until the instance is [Stopped], or returns the context's error if it is not
// when ctx ends.
func AwaitStopped(ctx context.Context, i *instance.Instance) error {
	for !Stopped(i) {
		if err := ctx.Err(); err != nil {
			return err
		}
		_ = pause.For(ctx, stoppedInterval)
	}
	return nil
}

// RefuseNewer returns a refusal if err, of reading the instance's state, says that a later version
// wrote it; else nil.
func RefuseNewer(i *instance.Instance, err error) error {
	if _, ok := errors.AsType[*state.NewerSchemaError](err); !ok {
		return nil
	}
	return problem(i, TooNew, failure.Refuse("instance %q: %w", i.Name, err))
}

// Follow calls f with observations of the instance: now, after each change of its state file, and
// at the end of its supervisor. It ends when f returns false or an error, with ctx and its error, or
// with [Removed] when the instance is removed.
func Follow(ctx context.Context, i *instance.Instance, f func(instance.Observation) (more bool, err error)) error {
	return followAs(ctx, i, true, f)
}

// FollowObjects is [Follow] with objects in the states, which costs more. StateErr says why a
// state file is missing or can't be read.
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
	states := state.Follow
	if head {
		states = state.FollowHead
	}
	for s, readErr := range states(round, i.Paths.StateFile()) {
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
			go cancelAtEnd(round, instance.SupervisorID(o.State.Supervisor), cancel)
		}
		if errors.Is(readErr, fs.ErrNotExist) {
			go cancelAtRemoval(round, i, cancel)
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	err = context.Cause(round)
	if errors.Is(err, errSupervisorEnded) {
		return true, nil
	}
	return false, err
}

var errSupervisorEnded = errors.New("the supervisor has ended")

// cancelAtEnd cancels a round with errSupervisorEnded when the process has ended.
func cancelAtEnd(round context.Context, id process.ID, cancel context.CancelCauseFunc) {
	if id.Wait(round) == nil {
		cancel(errSupervisorEnded)
	}
}

// removedInterval is how often an instance without a state file is looked for: the settings go last.
const removedInterval = 500 * time.Millisecond

// cancelAtRemoval cancels a round when the instance has been removed. It ends with the round, or when
// there is a state file again.
func cancelAtRemoval(round context.Context, i *instance.Instance, cancel context.CancelCauseFunc) {
	for pause.For(round, removedInterval) == nil {
		switch {
		case removed(i):
			cancel(removedError(i))
			return
		case files.Exists(i.Paths.StateFile()):
			return
		}
	}
}
