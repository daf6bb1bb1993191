package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

const (
	// forcedStop is how long a forced stop may take before the supervisor is killed.
	forcedStop = 10 * time.Second
	// noticed is how long a supervisor may take to begin a request.
	noticed = 2 * time.Second
	// lookAgain is how soon to look at a lock again.
	lookAgain = 200 * time.Millisecond
)

// StopOptions say how to stop.
type StopOptions = requests.StopOptions

// ToRestart returns the options of a stop that leaves the context, and its promotion, to this
// process, which starts the instance again.
func ToRestart() StopOptions {
	self, _ := process.Self() // if it is not known, a start makes the context again
	return StopOptions{KeepFor: self}
}

// A StopResult is the result of a stop.
type StopResult struct {
	Ran    bool     // there was something to stop
	Killed []string // the names of the containers that had to be killed
}

// Stop stops the instance and returns when its engine and its supervisor are gone. If the
// supervisor has died, it starts another one for that. When ctx ends, the stop goes on, and the
// error says who holds the instance.
func Stop(ctx context.Context, i *instance.Instance, o StopOptions) (StopResult, error) {
	result, err := stop(ctx, i, o)
	if err == nil {
		settleUnit(ctx, i)
	}
	return result, err
}

func stop(ctx context.Context, i *instance.Instance, o StopOptions) (StopResult, error) {
	s := stopper{inst: i, options: o, asked: map[process.ID]bool{}}
	for {
		release, err := lock.TryAcquire(i.Paths.SupervisorLock())
		if err == nil {
			there := !s.done && !isStopped(i)
			release()
			if !there {
				return s.result(), nil
			}
			err = s.stopLeftovers(ctx)
		} else if held, ok := errors.AsType[*lock.HeldError](err); ok {
			err = s.stopHolder(ctx, held.Holder)
		} else if errors.Is(err, fs.ErrNotExist) {
			return s.result(), nil // removed meanwhile, and stopped before
		}
		if err != nil {
			return StopResult{}, err
		}
	}
}

// stopper is one call of Stop.
type stopper struct {
	inst    *instance.Instance
	options StopOptions
	asked   map[process.ID]bool // supervisors told to end, or started for the stop
	done    bool                // by a supervisor that was started for the stop
	killed  []string
}

func (s *stopper) result() StopResult { return StopResult{Ran: len(s.asked) > 0, Killed: s.killed} }

// stopLeftovers starts a supervisor that stops what the last one has left, and waits for it. The
// stop is not done if that was killed, or has found another supervisor.
func (s *stopper) stopLeftovers(ctx context.Context) error {
	child, err := spawnToStop(s.inst, s.options)
	if err != nil {
		return fmt.Errorf("stop instance %q: %w", s.inst.Name, err)
	}
	s.asked[child.id] = true
	select {
	case <-child.done:
	case <-ctx.Done():
		if !child.ended() {
			return stillStopping(ctx, s.inst, child.id)
		}
	}
	if child.err != nil && !child.exitedWith(wire.ExitHeld) && !child.killed() {
		return childError(s.inst, child)
	}
	s.done, s.killed = child.err == nil, append(s.killed, child.report.Killed...)
	return nil
}

// stopHolder tells the holder of the supervisor lock to end, if it is a supervisor that was not
// told before, and waits for a while. Commands hold the lock for moments, and are not told.
func (s *stopper) stopHolder(ctx context.Context, holder lock.Holder) error {
	id, err := supervisorHolding(s.inst, holder)
	if err == nil && !s.asked[id] {
		s.asked[id] = true
		var o requests.Outcome
		o, err = askToStop(ctx, s.inst, id, s.options)
		s.killed = append(s.killed, o.Killed...)
		if err == nil {
			return nil // it has ended
		}
	}
	if ctx.Err() != nil {
		return stillStopping(ctx, s.inst, holder)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop instance %q: %w", s.inst.Name, err)
	}
	// Gone, or not yet there: look again, but not in a busy loop.
	_ = awaitFree(ctx, s.inst.Paths.SupervisorLock(), lookAgain)
	return nil
}

// supervisorHolding returns the supervisor that holds the lock, as named in the state or the lock:
// on a full disk only one of them may be right. The error matches [os.ErrProcessDone] if the
// holder is no supervisor.
func supervisorHolding(i *instance.Instance, holder lock.Holder) (process.ID, error) {
	if s, err := state.ReadHead(i.Paths.StateFile()); err == nil && instance.Live(s) {
		return instance.SupervisorID(s.Supervisor), nil
	}
	if holder.Role != wire.Role {
		return process.ID{}, process.ErrGone
	}
	return holder.ID, nil
}

// awaitFree waits until the lock at path is free. After the limit, or when ctx ends, the error
// says who holds it.
func awaitFree(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	release, err := lock.Acquire(ctx, path)
	if err == nil {
		release()
	}
	return err
}

// stillStopping returns the error for a stop that goes on when the wait ends.
func stillStopping(ctx context.Context, i *instance.Instance, holder fmt.Stringer) error {
	words := ""
	if c := instance.Observe(i).Condition(state.EngineReady); c.Reason == state.ReasonStopped && c.Message != "" {
		words = c.Message + ": "
	}
	err := fmt.Errorf("instance %q: still stopping: %s%s holds it", i.Name, words, holder)
	code := failure.CodeTimeout
	if errors.Is(ctx.Err(), context.Canceled) {
		err, code = fmt.Errorf("interrupted, but instance %q goes on stopping: %s holds it", i.Name, holder), failure.CodeInterrupted
	}
	return problem(i, Stopping, failure.WithCode(err, code))
}

// isStopped reports whether an instance without a supervisor is stopped: the last one has said so,
// no engine runs, and the mirror is empty (a sync without a supervisor fills it).
func isStopped(i *instance.Instance) bool {
	s, err := state.Read(i.Paths.StateFile())
	if errors.Is(err, fs.ErrNotExist) {
		err, s = nil, &state.State{}
	}
	return err == nil && s.Supervisor == nil && engineGone(i) &&
		len(s.Containers)+len(s.Images)+len(s.Volumes)+len(s.Networks)+len(s.Namespaces) == 0
}

// askToStop tells the supervisor to end and waits for that, or for the end of ctx. One that does
// not react to a forced stop is killed.
func askToStop(ctx context.Context, i *instance.Instance, id process.ID, o StopOptions) (requests.Outcome, error) {
	dir := i.Paths.RequestsDir()
	request, err := requests.Submit(dir, requests.Request{
		Type: requests.RequestStop, Reply: true, Stop: &requests.Stop{Supervisor: id, StopOptions: o},
	})
	if err != nil {
		// On a full disk, or a read-only one, the signal must do.
		if err := id.Signal(syscall.SIGTERM); err != nil {
			return requests.Outcome{}, err
		}
	}
	if err := awaitEnd(ctx, dir, request, id, o.Force); err != nil {
		return requests.Outcome{}, err // the request stays: it is for this supervisor only
	}
	defer requests.Forget(dir, request)
	outcome, _ := requests.Fetch(dir, request) // it exists by now, or never will
	return outcome, nil
}

// awaitEnd waits for the end of a supervisor that was asked to stop.
func awaitEnd(ctx context.Context, dir, request string, id process.ID, force bool) error {
	wait := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return id.Wait(ctx)
	}
	if err := wait(noticed); err == nil || ctx.Err() != nil {
		return err
	}
	if !requests.Begun(dir, request) {
		// It does not read requests: it hangs, or is of another version.
		if err := id.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	if !force {
		return id.Wait(ctx)
	}
	if err := wait(forcedStop); err == nil || ctx.Err() != nil {
		return err
	}
	if err := id.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return id.Wait(ctx)
}
