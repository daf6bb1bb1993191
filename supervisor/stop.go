package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/sys/atomicwriter"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// defaultGrace is how long an engine may take to stop its containers before it
	// is ended by force, where nobody said. dockerd itself gives them 15 s.
	defaultGrace = 45 * time.Second
	// forcedStop is how long a supervisor has to stop by force before it is killed.
	forcedStop = 10 * time.Second
	// lookAgain is how soon to look again at who holds a lock.
	lookAgain = 200 * time.Millisecond
)

// StopOptions say how to stop.
type StopOptions struct {
	// Keep leaves the context and the promotion as they are, for a restart.
	Keep bool
	// Force ends the engine without waiting for its containers, and a supervisor
	// that does not react.
	Force bool
	// Undo takes back a start: an engine that was there before goes on.
	Undo bool
}

// stopRequest is what a supervisor finds when it is told to end. It is optional: the
// signal alone is a stop without options.
type stopRequest struct {
	Supervisor process.ID `json:"supervisor"` // a request for another one is void
	StopOptions
}

func stopRequestPath(i *engine.Instance) string { return filepath.Join(i.Paths.State, "stop.json") }

// Stop stops the instance and returns when its engine and its supervisor are gone.
// Where the supervisor died, another is started for that. It reports whether there was
// anything to stop. When ctx ends, the stop that was asked for goes on; the error then
// tells who holds the instance.
func Stop(ctx context.Context, i *engine.Instance, o StopOptions) (stopped bool, err error) {
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
			child, err := spawnToStop(i, o)
			if err != nil {
				return false, fmt.Errorf("stop instance %q: %w", i.Name, err)
			}
			asked[child.ID] = true
			select {
			case <-child.Done:
			case <-ctx.Done():
				return false, stillStopping(ctx, i, child.ID)
			}
			done = child.Err() == nil
			if !done && !child.exitedWith(exitHeld) && !child.Killed() {
				return false, childError(i, child)
			}
			continue
		}
		held, ok := errors.AsType[*lock.HeldError](err)
		if !ok {
			return false, err
		}
		id, err := process.Find(held.Holder.PID)
		if err == nil && held.Holder.PID != 0 && !asked[id] {
			asked[id] = true
			err = askToStop(ctx, i, id, o)
		}
		if ctx.Err() != nil {
			return false, stillStopping(ctx, i, held.Holder)
		}
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, fmt.Errorf("stop instance %q: %w", i.Name, err)
		}
		// Gone, or not yet there: look again, but not in a busy loop.
		wait, cancel := context.WithTimeout(ctx, lookAgain)
		if release, err := lock.Acquire(wait, i.Paths.SupervisorLock()); err == nil {
			release()
		}
		cancel()
	}
}

// stillStopping says that a stop is not waited for any longer, but goes on.
func stillStopping(ctx context.Context, i *engine.Instance, holder fmt.Stringer) error {
	err := fmt.Errorf("instance %q: still stopping: %s holds it", i.Name, holder)
	code := failure.CodeTimeout
	if errors.Is(ctx.Err(), context.Canceled) {
		err, code = fmt.Errorf("interrupted, but instance %q goes on stopping: %s holds it", i.Name, holder), failure.CodeInterrupted
	}
	return failure.WithHint(failure.WithCode(err, code), "docker-rd stop --force %s", i.Name)
}

// isStopped tells whether nothing is left of an instance without a supervisor: the last
// one has said so, no engine runs, and no object is mirrored, as after a sync that was
// made without a supervisor.
func isStopped(i *engine.Instance) bool {
	s, err := state.Read(i.Paths.StateFile())
	if errors.Is(err, fs.ErrNotExist) {
		err, s = nil, &state.State{}
	}
	driver, driverErr := engine.DriverFor(i, nil)
	return err == nil && s.Supervisor == nil && driverErr == nil && !driver.Alive() && !driver.Remains() &&
		len(s.Containers)+len(s.Images)+len(s.Volumes)+len(s.Networks)+len(s.Namespaces) == 0
}

// askToStop tells the supervisor to end and waits until it has, or ctx ends.
func askToStop(ctx context.Context, i *engine.Instance, id process.ID, o StopOptions) error {
	if data, err := json.Marshal(stopRequest{id, o}); err == nil {
		// On a full disk the signal must do.
		_ = atomicwriter.WriteFile(stopRequestPath(i), data, 0o600)
		defer os.Remove(stopRequestPath(i))
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

// readStopRequest returns what the supervisor self was asked for.
func readStopRequest(i *engine.Instance, self process.ID) StopOptions {
	var r stopRequest
	data, err := os.ReadFile(stopRequestPath(i))
	if err != nil || json.Unmarshal(data, &r) != nil || r.Supervisor != self {
		return StopOptions{}
	}
	return r.StopOptions
}
