package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// undoTimeout bounds taking back a start that was interrupted, once the polite way and
// once by force.
const undoTimeout = 15 * time.Second

// StartOptions say how to start.
type StartOptions struct {
	Detach   bool              // only until the supervisor runs
	Progress func(Observation) // called with each new observation; may be nil
}

// Start makes the instance run and waits until it is Ready. Where a supervisor runs
// already, it only waits; one whose engine is down for good is replaced. Any number
// of processes may start an instance at once: they make one engine.
//
// The error for an engine that cannot start comes as soon as that is known. When ctx
// ends, what this very call has launched is taken back, unless another start waits
// for it too.
func Start(ctx context.Context, i *engine.Instance, o StartOptions) (Observation, error) {
	share, err := lock.AcquireShared(ctx, i.Paths.StartLock())
	if err != nil {
		return Observation{}, err
	}
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		share()
		return Observation{}, err
	}
	s := starter{inst: i, StartOptions: o, alive: driver.Alive()}
	last, err := s.run(ctx)
	share()
	if ctx.Err() == nil || err == nil {
		return last, err
	}
	s.undo()
	if errors.Is(ctx.Err(), context.Canceled) {
		return last, ctx.Err()
	}
	return last, failure.WithHint(failure.Timeout("instance %q is not ready in time: %s", i.Name, pending(last)),
		"docker-rd status %s; docker-rd logs %s", i.Name, i.Name)
}

// starter is one call of Start.
type starter struct {
	inst *engine.Instance
	StartOptions
	child *Child // the supervisor that this call has started last; nil if none
	alive bool   // the engine ran before this call
}

// heldPatience is how long a lock may be held by somebody who does not say who it is.
const heldPatience = 500 * time.Millisecond

// attempts is how often a supervisor is started that finds another, which is gone
// when one looks.
const attempts = 10

func (s *starter) run(ctx context.Context) (Observation, error) {
	var last Observation
	for range attempts {
		o := Observe(s.inst)
		if err := RefuseNewer(s.inst, o.StateErr); err != nil {
			return o, err
		}
		if o.Live && o.Condition(state.EngineReady).Reason == state.ReasonCrashLoop {
			if _, err := Stop(ctx, s.inst, StopOptions{Keep: true}); err != nil {
				return o, err
			}
			o = Observe(s.inst)
		}
		var child *Child
		if !o.Supervised {
			var err error
			if child, err = Spawn(s.inst); err != nil {
				return o, err
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

// wait watches the supervisor, be it the child or another's, until the instance is
// ready or has failed. Again is true if there is no supervisor any more, and no
// reason for that.
func (s *starter) wait(ctx context.Context, child *Child) (last Observation, again bool, err error) {
	round, cancel := context.WithCancel(ctx)
	defer cancel()
	if child != nil {
		go func() {
			select {
			case <-child.Done:
				cancel() // it has failed, or found another supervisor
			case <-round.Done():
			}
		}()
	}
	// Whoever holds the lock and writes no state, as one does that is just dying, is
	// noticed by nothing else when it is gone.
	unheld := sync.OnceFunc(func() {
		go func() {
			if release, err := lock.Acquire(round, s.inst.Paths.SupervisorLock()); err == nil {
				release()
				cancel()
			}
		}()
	})
	var seen *state.Supervisor // the one that is waited for
	stopping := false          // it was being stopped before this start
	err = Follow(round, s.inst, func(o Observation) (bool, error) {
		last = o
		if o.StateErr != nil && !errors.Is(o.StateErr, state.ErrCorrupt) {
			return false, o.StateErr
		}
		if !o.Live { // also where the supervisor has yet to make the state anew
			if child == nil {
				unheld()
			}
			return seen == nil, s.held(o)
		}
		if seen == nil {
			seen = o.State.Supervisor
			stopping = o.Condition(state.EngineReady).Reason == state.ReasonStopped
		}
		if s.Progress != nil {
			s.Progress(o)
		}
		ready := o.Condition(state.Ready)
		return !s.Detach && ready.Status != state.True, nil
	})
	switch {
	case ctx.Err() != nil:
		return last, false, ctx.Err()
	case err != nil && round.Err() == nil:
		return last, false, err
	case last.Live && (s.Detach || last.Condition(state.Ready).Status == state.True):
		return last, false, nil
	}
	// The supervisor that was waited for is gone, or the child never was one.
	if child != nil {
		<-child.Done
		if child.Err() != nil && !child.Killed() {
			return last, false, childError(s.inst, child)
		}
	}
	last = Observe(s.inst)
	if seen == nil || stopping {
		return last, true, nil
	}
	again, err = s.gone(last.State, supervisorID(&state.State{Supervisor: seen}))
	return last, again, err
}

// gone returns why the supervisor that was waited for is gone. Where it was killed,
// another one goes on with what it has launched.
func (s *starter) gone(st *state.State, was process.ID) (again bool, err error) {
	switch {
	case st == nil:
		return true, nil
	case st.Supervisor == nil:
		return false, fmt.Errorf("instance %q was stopped while it started", s.inst.Name)
	case supervisorID(st) == was:
		err := failedState(s.inst, st)
		return err == nil, err
	}
	return true, nil // there is another one already
}

// held refuses to wait for a supervisor lock that is no supervisor's: whoever takes it
// among docker-rd's processes says so in it.
func (s *starter) held(o Observation) error {
	if !o.Supervised || o.Holder.PID != 0 {
		return nil
	}
	path := s.inst.Paths.SupervisorLock()
	ctx, cancel := context.WithTimeout(context.Background(), heldPatience)
	defer cancel()
	release, err := lock.Acquire(ctx, path)
	if err == nil {
		release()
		return nil
	}
	if h, _ := lock.ReadHolder(path); h.PID != 0 {
		return nil // it had not come to describing itself
	}
	return failure.WithCode(fmt.Errorf("start instance %q: %w", s.inst.Name, err), failure.CodeFailed)
}

// childError returns why a supervisor that this process has started gave up.
func childError(i *engine.Instance, child *Child) error {
	if st, err := state.ReadHead(i.Paths.StateFile()); err == nil && st.Supervisor != nil && supervisorID(st) == child.ID {
		if err := failedState(i, st); err != nil {
			return err
		}
	}
	// It did not come so far as to write a state.
	words := lastError(i.Paths.SupervisorLog())
	switch {
	case child.exitedWith(exitNoSpace):
		words = fmt.Sprintf("no space is left for its state: %q", i.Paths.StateFile())
	case words == "":
		words = fmt.Sprintf("its supervisor ended: %v", child.Err())
	}
	return failure.WithHint(fmt.Errorf("instance %q: %s", i.Name, words), "the supervisor's log is %s", i.Paths.SupervisorLog())
}

// failedState returns the failure that a supervisor's last state tells of, if any.
func failedState(i *engine.Instance, s *state.State) error {
	c, _ := s.Condition(state.EngineReady)
	switch c.Reason {
	case state.ReasonExited, state.ReasonCrashLoop, state.ReasonConnectFailed:
		err := fmt.Errorf("instance %q: %s", i.Name, c.Message)
		if i.Settings.Driver == engine.DriverExisting {
			return failure.WithHint(err, "docker-rd context probe tells more of an engine that does not answer")
		}
		return failure.WithHint(err, "the engine's log is %s", i.Paths.EngineLog())
	}
	return nil
}

// undo stops what this call has launched, unless somebody else waits for it.
func (s *starter) undo() {
	if s.child == nil || s.child.Ended() {
		return // it has found another supervisor, or cleaned up already
	}
	release, err := lock.TryAcquire(s.inst.Paths.StartLock())
	if err != nil {
		return
	}
	defer release()
	// It may not have come to being a supervisor, or never become one: it is told to end
	// all the same, and what it has launched of an engine ends with it.
	polite, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	_ = askToStop(polite, s.inst, s.child.ID, StopOptions{Undo: true})
	select {
	case <-s.child.Done:
		if s.child.Err() == nil {
			return
		}
		if st, err := state.ReadHead(s.inst.Paths.StateFile()); err != nil || st.Supervisor == nil || supervisorID(st) != s.child.ID {
			return
		}
		// It could not say goodbye.
	case <-polite.Done():
		// One that never came up need not be asked any longer.
	}
	if s.alive {
		_ = s.child.ID.Signal(syscall.SIGKILL) // but the engine is not this start's
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	_, _ = Stop(ctx, s.inst, StopOptions{Force: true})
}

// pending says what an instance that is not ready waits for.
func pending(o Observation) string {
	for _, typ := range []string{state.EngineReady, state.ContextReady, state.ContextPromoted, state.MirrorSynced} {
		if c := o.Condition(typ); !settled(c) {
			if c.Message != "" {
				return c.Message
			}
			return typ + " is " + string(c.Status) + " (" + c.Reason + ")"
		}
	}
	return "it is not ready"
}

// errorField is the error in a line of the supervisor's log.
var errorField = regexp.MustCompile(`^time=.* error=("(?:[^"\\]|\\.)*"|\S+)$`)

// lastError returns what the last line of a supervisor's log tells, without the form of
// the log; "" if there is none.
func lastError(path string) string {
	line := lastLine(path)
	m := errorField.FindStringSubmatch(line)
	switch {
	case m == nil && strings.HasPrefix(line, "time="):
		return "" // the disk was full
	case m == nil:
		return line // written before there was a logger
	}
	if words, err := strconv.Unquote(m[1]); err == nil {
		return words
	}
	return m[1]
}

// lastLine returns the last line of a file that is not empty, "" if there is none.
func lastLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	const tail = 8 << 10
	if info, err := file.Stat(); err == nil && info.Size() > tail {
		_, _ = file.Seek(-tail, 2)
	}
	last := ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			last = line
		}
	}
	return last
}
