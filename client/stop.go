package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/atomicwriter"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

const (
	// forcedStop is how long a supervisor has to stop by force before it is killed.
	forcedStop = 10 * time.Second
	// lookAgain is how soon to look again at who holds a lock.
	lookAgain = 200 * time.Millisecond
)

// StopOptions say how to stop.
type StopOptions = wire.StopOptions

// Stop stops the instance and returns when its engine and its supervisor are gone.
// Where the supervisor died, another is started for that. It reports whether there was
// anything to stop. When ctx ends, the stop that was asked for goes on; the error then
// tells who holds the instance.
func Stop(ctx context.Context, i *instance.Instance, o StopOptions) (stopped bool, err error) {
	asked := map[process.ID]bool{}
	done := false // by a supervisor that was started for it
	for {
		release, err := lock.TryAcquire(i.Paths.SupervisorLock())
		if err == nil {
			there := !done && !isStopped(i)
			release()
			if !there {
				return len(asked) > 0, nil
			}
			done, err = stopLeftovers(ctx, i, o, asked)
		} else if held, ok := errors.AsType[*lock.HeldError](err); ok {
			err = stopHolder(ctx, i, held.Holder, o, asked)
		} else if errors.Is(err, fs.ErrNotExist) {
			return len(asked) > 0, nil // removed meanwhile, and stopped before
		}
		if err != nil {
			return false, err
		}
	}
}

// stopLeftovers starts a supervisor that stops what the last one has left behind, and waits
// for it. done is false where it was killed, or found that there is another by now.
func stopLeftovers(ctx context.Context, i *instance.Instance, o StopOptions, asked map[process.ID]bool) (done bool, err error) {
	child, err := spawnToStop(i, o)
	if err != nil {
		return false, fmt.Errorf("stop instance %q: %w", i.Name, err)
	}
	asked[child.id] = true
	select {
	case <-child.done:
	case <-ctx.Done():
		return false, stillStopping(ctx, i, child.id)
	}
	if child.err != nil && !child.exitedWith(wire.ExitHeld) && !child.killed() {
		return false, childError(i, child)
	}
	return child.err == nil, nil
}

// stopHolder tells the holder of the supervisor lock to end, if it is a supervisor that was
// not asked before, and waits, for a while at least, until it has. Commands hold the lock
// for moments, to look at what is left, and must not be ended by that.
func stopHolder(ctx context.Context, i *instance.Instance, holder lock.Holder, o StopOptions, asked map[process.ID]bool) error {
	id, err := process.Find(holder.PID)
	if err == nil && !asked[id] && isSupervisor(holder) {
		asked[id] = true
		err = askToStop(ctx, i, id, o)
	}
	if ctx.Err() != nil {
		return stillStopping(ctx, i, holder)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop instance %q: %w", i.Name, err)
	}
	// Gone, or not yet there: look again, but not in a busy loop.
	_ = awaitFree(ctx, i.Paths.SupervisorLock(), lookAgain)
	return nil
}

func isSupervisor(h lock.Holder) bool { return strings.Contains(h.Command, " "+wire.Verb+" ") }

// awaitFree returns nil when nobody holds the lock at path, and an error that says who does
// after the limit or at the end of ctx.
func awaitFree(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	release, err := lock.Acquire(ctx, path)
	if err == nil {
		release()
	}
	return err
}

// stillStopping says that a stop is not waited for any longer, but goes on.
func stillStopping(ctx context.Context, i *instance.Instance, holder fmt.Stringer) error {
	err := fmt.Errorf("instance %q: still stopping: %s holds it", i.Name, holder)
	code := failure.CodeTimeout
	if errors.Is(ctx.Err(), context.Canceled) {
		err, code = fmt.Errorf("interrupted, but instance %q goes on stopping: %s holds it", i.Name, holder), failure.CodeInterrupted
	}
	return problem(i, Stopping, failure.WithCode(err, code))
}

// isStopped tells whether nothing is left of an instance without a supervisor: the last
// one has said so, no engine runs, and no object is mirrored, as after a sync that was
// made without a supervisor.
func isStopped(i *instance.Instance) bool {
	s, err := state.Read(i.Paths.StateFile())
	if errors.Is(err, fs.ErrNotExist) {
		err, s = nil, &state.State{}
	}
	return err == nil && s.Supervisor == nil && engineGone(i) &&
		len(s.Containers)+len(s.Images)+len(s.Volumes)+len(s.Networks)+len(s.Namespaces) == 0
}

// askToStop tells the supervisor to end and waits until it has, or ctx ends.
func askToStop(ctx context.Context, i *instance.Instance, id process.ID, o StopOptions) error {
	if data, err := json.Marshal(wire.StopRequest{Supervisor: id, StopOptions: o}); err == nil {
		// On a full disk the signal must do.
		_ = atomicwriter.WriteFile(wire.StopRequestPath(i), data, 0o600)
		defer os.Remove(wire.StopRequestPath(i))
	}
	if err := id.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if !o.Force {
		return id.Wait(ctx)
	}
	forced, cancel := context.WithTimeout(ctx, forcedStop)
	defer cancel()
	if err := id.Wait(forced); err == nil || ctx.Err() != nil {
		return err
	}
	if err := id.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return id.Wait(ctx)
}
