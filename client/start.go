package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// undoTimeout bounds the undoing of an interrupted start, once politely and once by force.
const undoTimeout = 15 * time.Second

// StartOptions say how to start.
type StartOptions struct {
	Detach bool // wait only until the supervisor runs
	// Patience is how long to wait after the last sign of progress, in addition to ctx; 0 for no
	// such limit.
	Patience time.Duration
	// GoOn lets the start go on when the wait ends, instead of undoing it: something ran before.
	GoOn     bool
	Progress func(instance.Observation) // called with each new observation; may be nil
}

// Start starts the instance and waits until it is Ready. If a supervisor runs already, Start makes
// a context again that the user has removed, and waits; a supervisor whose engine is down for good
// is replaced. Any number of processes may start an instance at once: they make one engine.
//
// It returns as soon as it is known that the engine can't start. When ctx ends, it undoes what
// this call has launched, unless another start waits for that, too.
func Start(ctx context.Context, i *instance.Instance, o StartOptions) (instance.Observation, error) {
	share, err := lock.AcquireShared(ctx, i.Paths.StartLock())
	if errors.Is(err, fs.ErrNotExist) {
		return instance.Observation{}, removedAtStart(i)
	}
	if err != nil {
		return instance.Observation{}, err
	}
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		share()
		return instance.Observation{}, err
	}
	s := starter{inst: i, StartOptions: o, alive: driver.Life() == engine.Alive}
	wait, cancel := patient(ctx, o.Patience, i.Paths.EngineLog())
	defer cancel()
	remakeContext(wait, i, driver)
	last, err := s.run(wait)
	share()
	if wait.Err() != nil && !errors.Is(ctx.Err(), context.Canceled) {
		// This process may have been stopped for a while, as by Ctrl-Z: then the time was up when it
		// could look again.
		if now := instance.Observe(i); s.done(now) {
			return now, nil
		}
	}
	switch {
	case err != nil && removed(i):
		return last, removedAtStart(i)
	case err == nil || wait.Err() == nil:
		return last, err
	}
	interrupted, words := errors.Is(ctx.Err(), context.Canceled), "it goes on starting"
	late := ""
	if !interrupted {
		late = "it was not ready in time: " + pending(last)
	}
	if o.GoOn {
		s.appear()
	} else if s.undo(late) {
		words = "it was stopped again"
	}
	if interrupted {
		return last, ctx.Err()
	}
	return last, problem(i, NotReady, failure.Timeout("instance %q is not ready in time: %s; %s", i.Name, pending(last), words))
}

// removed reports whether somebody has removed the instance. Another one may have its name by now.
func removed(i *instance.Instance) bool {
	there, err := instance.LoadDir(i.Paths.State)
	return errors.Is(err, fs.ErrNotExist) || err == nil && there.UID != i.UID
}

func removedError(i *instance.Instance) error {
	return problem(i, Removed, fmt.Errorf("instance %q was removed", i.Name))
}

func removedAtStart(i *instance.Instance) error {
	return fmt.Errorf("%w while it started", removedError(i))
}

// starter is one call of Start.
type starter struct {
	inst *instance.Instance
	StartOptions
	child *childProcess // the supervisor that this call has started last; nil if none
	alive bool          // the engine ran before this call
}

// heldPatience is how long a holder of a lock may take to describe itself.
const heldPatience = 500 * time.Millisecond

// attempts is how often a start tries again after its supervisor has gone without a reason, or has
// found another one, which then was gone.
const attempts = 10

func (s *starter) run(ctx context.Context) (instance.Observation, error) {
	var last instance.Observation
	for range attempts {
		o := instance.Observe(s.inst)
		if err := RefuseNewer(s.inst, o.StateErr); err != nil {
			return o, err
		}
		if o.Live && o.Condition(state.EngineReady).Reason == state.ReasonCrashLoop {
			if _, err := Stop(ctx, s.inst, ToRestart()); err != nil {
				return o, err
			}
			o = instance.Observe(s.inst)
		}
		var child *childProcess
		if !o.Supervised {
			var err error
			if child, err = spawn(s.inst); err != nil {
				return o, fmt.Errorf("start instance %q: %w", s.inst.Name, err)
			}
			s.child = child
		}
		var again bool
		var err error
		last, again, err = s.wait(ctx, child)
		if !again {
			return last, err
		}
	}
	return last, fmt.Errorf("instance %q: its supervisor comes and goes: %s", s.inst.Name, last.Holder)
}

// wait watches the supervisor, the child or another one, until the instance is ready or has
// failed. Again is true if the supervisor is gone without a reason.
func (s *starter) wait(ctx context.Context, child *childProcess) (last instance.Observation, again bool, err error) {
	round, cancel := context.WithCancel(ctx)
	defer cancel()
	if child != nil {
		go func() {
			select {
			case <-child.done:
				cancel() // it has failed, or found another supervisor
			case <-round.Done():
			}
		}()
	}
	// The end of a holder that writes no state, such as a dying supervisor, shows only in the
	// lock: it is free or gone.
	unheld := sync.OnceFunc(func() {
		go func() {
			defer cancel()
			if release, err := lock.Acquire(round, s.inst.Paths.SupervisorLock()); err == nil {
				release()
			}
		}()
	})
	var seen *state.Supervisor // the one that is waited for
	stopping := false          // it was being stopped before this start
	err = Follow(round, s.inst, func(o instance.Observation) (bool, error) {
		last = o
		if o.StateErr != nil && !errors.Is(o.StateErr, state.ErrCorrupt) {
			return false, o.StateErr
		}
		if !o.Live { // also before the supervisor has rewritten the state
			if child == nil {
				unheld()
			}
			// The child may take the place of one that is gone. Its end ends the round.
			return seen == nil || child != nil, s.held(round, o)
		}
		if seen == nil || instance.SupervisorID(seen) != instance.SupervisorID(o.State.Supervisor) {
			seen = o.State.Supervisor
			stopping = o.Condition(state.EngineReady).Reason == state.ReasonStopped
		}
		if s.Progress != nil {
			s.Progress(o)
		}
		if err := Failed(round, s.inst, o); err != nil {
			return false, err // it stays down
		}
		return !s.done(o), nil
	})
	switch {
	case ctx.Err() != nil:
		return last, false, ctx.Err()
	case err != nil && round.Err() == nil:
		return last, false, err
	case s.done(last):
		return last, false, nil
	}
	// The supervisor that was waited for is gone, or the child never was one.
	if child != nil {
		<-child.done
		if child.err != nil && !child.killed() {
			return last, false, childError(s.inst, child)
		}
	}
	last = instance.Observe(s.inst)
	if seen == nil || stopping {
		return last, true, nil
	}
	again, err = s.gone(last.State, instance.SupervisorID(seen))
	return last, again, err
}

// done reports whether nothing is left to wait for.
func (s *starter) done(o instance.Observation) bool {
	return o.Live && s.Detach || o.Condition(state.Ready).Status == state.True
}

// gone returns why the supervisor is gone. If it was killed, another one goes on with what it has
// launched.
func (s *starter) gone(st *state.State, was process.ID) (again bool, err error) {
	switch {
	case st == nil:
		return true, nil
	case st.Supervisor == nil:
		return false, fmt.Errorf("instance %q was stopped while it started", s.inst.Name)
	case instance.SupervisorID(st.Supervisor) == was:
		err := failedState(s.inst, st)
		return err == nil, err
	}
	return true, nil // there is another one already
}

// held refuses to wait for a supervisor lock that no docker-rd holds: that would describe itself.
func (s *starter) held(ctx context.Context, o instance.Observation) error {
	if !o.Supervised || o.Holder.PID != 0 {
		return nil
	}
	path := s.inst.Paths.SupervisorLock()
	err := awaitFree(ctx, path, heldPatience)
	if err == nil {
		return nil
	}
	if h, _ := lock.ReadHolder(path); h.PID != 0 {
		return nil // it had not described itself yet
	}
	return failure.WithCode(fmt.Errorf("start instance %q: %w", s.inst.Name, err), failure.CodeFailed)
}

// childError returns why a supervisor that this process has started has failed.
func childError(i *instance.Instance, child *childProcess) error {
	if st, err := state.ReadHead(i.Paths.StateFile()); err == nil && st.Supervisor != nil && instance.SupervisorID(st.Supervisor) == child.id {
		if err := failedState(i, st); err != nil {
			return err
		}
	}
	err := child.report.Err()
	if err == nil {
		err = fmt.Errorf("its supervisor ended: %w", child.err)
	}
	if failure.Hint(err) != "" {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return problem(i, Crashed, fmt.Errorf("instance %q: %w", i.Name, err))
}

// failedState returns the failure in a supervisor's last state, if any.
func failedState(i *instance.Instance, s *state.State) error {
	c, _ := s.Condition(state.EngineReady)
	switch c.Reason {
	case state.ReasonExited, state.ReasonCrashLoop, state.ReasonConnectFailed:
		return engineFailed(i, c.Message, s.LastFailure)
	}
	return nil
}

// appear waits for a moment until the supervisor that this call has started holds its lock: until then
// its engine would seem to be gone for good.
func (s *starter) appear() {
	const pause = 10 * time.Millisecond
	for waited := time.Duration(0); waited < heldPatience && s.child != nil && !s.child.ended(); waited += pause {
		if held, err := lock.Held(s.inst.Paths.SupervisorLock()); held || err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// undo stops what this call has launched, unless somebody else waits for it. Late is why, where
// that is a failure of the start. It reports whether nothing is left of that.
func (s *starter) undo(late string) bool {
	if s.child == nil {
		return false // it has found another supervisor
	}
	if s.child.ended() {
		return true // it has cleaned up already
	}
	release, err := lock.TryAcquire(s.inst.Paths.StartLock())
	if err != nil {
		return false
	}
	defer release()
	// The child may not be the supervisor yet. It is told to end all the same, with the engine
	// that it has launched.
	polite, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	_, _ = askToStop(polite, s.inst, s.child.id, StopOptions{Undo: true, Late: late})
	select {
	case <-s.child.done:
		if s.child.err == nil {
			return !s.alive
		}
		if st, err := state.ReadHead(s.inst.Paths.StateFile()); err != nil || st.Supervisor == nil || instance.SupervisorID(st.Supervisor) != s.child.id {
			return !s.alive
		}
		// It was killed before it could clean up.
	case <-polite.Done():
		// It does not react, perhaps because it never came up.
	}
	if s.alive {
		_ = s.child.id.Signal(syscall.SIGKILL) // but the engine is not this start's
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	_, err = Stop(ctx, s.inst, StopOptions{Force: true, Late: late})
	return err == nil
}

// pending returns what an instance that is not ready waits for.
func pending(o instance.Observation) string {
	switch c := o.Condition(state.Ready); {
	case c.Message != "":
		return c.Message
	case c.Reason != "":
		return fmt.Sprintf("it is not ready (%s)", c.Reason)
	}
	return "it is not ready"
}
