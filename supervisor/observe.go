package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Observation is what can be seen of an instance from outside, at one moment.
type Observation struct {
	// State is the head of the state file, without objects; nil if there is none
	// that can be read, and then StateErr says why, if it should be there.
	State    *state.State
	StateErr error
	// Supervised tells whether there is a supervisor, and Holder describes it as
	// far as it has described itself.
	Supervised bool
	Holder     lock.Holder
	// Live tells whether State was written by a process that lives now: only then
	// its conditions count.
	Live bool
}

// Observe looks at an instance's files and processes. It changes nothing.
func Observe(i *instance.Instance) Observation {
	var o Observation
	o.State, o.StateErr = state.ReadHead(i.Paths.StateFile())
	if errors.Is(o.StateErr, fs.ErrNotExist) {
		o.StateErr = nil
	}
	if held, err := lock.Held(i.Paths.SupervisorLock()); err == nil && held {
		o.Supervised = true
		o.Holder, _ = lock.ReadHolder(i.Paths.SupervisorLock())
	}
	o.Live = Live(o.State)
	return o
}

// Stopped tells whether the instance has neither a supervisor nor anything of an engine
// that runs.
func Stopped(i *instance.Instance) bool {
	if held, err := lock.Held(i.Paths.SupervisorLock()); err != nil || held {
		return false
	}
	return engineGone(i)
}

// engineGone tells whether nothing of the instance's engine runs.
func engineGone(i *instance.Instance) bool {
	driver, err := engine.DriverFor(i, nil)
	return err == nil && !driver.Alive() && !driver.Remains()
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

// Live tells whether the process that wrote the state is alive: only then its
// conditions count.
func Live(s *state.State) bool {
	return s != nil && s.Supervisor != nil && supervisorID(s).Alive()
}

func supervisorID(s *state.State) process.ID {
	return process.ID{PID: s.Supervisor.PID, StartTime: s.Supervisor.StartTicks, BootID: s.Supervisor.BootID}
}

// RefuseNewer returns the refusal of whoever needs the instance's state where err, of
// reading it, says that a later version wrote it; otherwise nil.
func RefuseNewer(i *instance.Instance, err error) error {
	if _, ok := errors.AsType[*state.NewerSchemaError](err); !ok {
		return nil
	}
	return failure.WithHint(failure.Refuse("instance %q: %w", i.Name, err), "use the newer docker-rd")
}

// Condition returns a condition as it counts now: Unknown where nobody keeps it.
func (o Observation) Condition(typ string) state.Condition {
	if !o.Live {
		return state.Condition{Type: typ, Status: state.Unknown, Reason: "NoSupervisor", Message: "no supervisor runs"}
	}
	c, _ := o.State.Condition(typ)
	return c
}

// Follow calls f with what can be seen of the instance, now and after each change of
// its state file or the end of its supervisor, until f returns false or an error, or
// ctx ends; that is the error then.
func Follow(ctx context.Context, i *instance.Instance, f func(Observation) (more bool, err error)) error {
	return followAs(ctx, i, true, f)
}

// FollowObjects is [Follow] with states that have their objects, which costs more. A
// state file that is missing or can't be read shows in StateErr.
func FollowObjects(ctx context.Context, i *instance.Instance, f func(Observation) (more bool, err error)) error {
	return followAs(ctx, i, false, f)
}

func followAs(ctx context.Context, i *instance.Instance, head bool, f func(Observation) (bool, error)) error {
	for {
		again, err := follow(ctx, i, head, f)
		if !again {
			return err
		}
	}
}

// follow is one round of Follow: it ends when the supervisor that it watches does.
func follow(ctx context.Context, i *instance.Instance, head bool, f func(Observation) (bool, error)) (again bool, err error) {
	round, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := false
	follower := state.Follower{Path: i.Paths.StateFile(), Head: head}
	for s, readErr := range follower.States(round) {
		o := Observe(i)
		if head {
			if s == nil && readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
				o.StateErr = readErr
			}
		} else {
			// The objects and the rest must be of one state.
			o.State, o.StateErr, o.Live = s, readErr, Live(s)
		}
		more, err := f(o)
		if !more || err != nil {
			return false, err
		}
		if o.Live && !watched {
			watched = true
			id := supervisorID(o.State)
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
