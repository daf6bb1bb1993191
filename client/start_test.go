//go:build !windows

package client

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// newInstance returns an instance that nobody has started.
func newInstance(t *testing.T) *instance.Instance {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rd") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	t.Setenv(instance.HomeEnv, home)
	t.Setenv("DOCKER_RD_DEFAULT_SOCKETS", filepath.Join(home, "default.sock"))
	roots, err := instance.DefaultRoots()
	if err != nil {
		t.Fatal(err)
	}
	s := instance.DefaultSettings()
	s.Driver = instance.DriverDockerd
	i, _, err := instance.Create(t.Context(), instance.New(roots, "default", filepath.Join(home, "docker"), s))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A start notices when a lock is released by somebody who wrote no state: one who was
// dying when it looked, or who removes something.
func TestWaitForLockOnly(t *testing.T) {
	i := newInstance(t)
	release, err := lock.TryAcquire(i.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: i}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	looked := make(chan struct{})
	go func() {
		<-looked
		release()
	}()
	if o := instance.Observe(i); !o.Supervised {
		t.Fatal("the lock does not count")
	}
	close(looked)
	_, again, err := s.wait(ctx, nil)
	if !again || err != nil {
		t.Errorf("wait = %v, %v, want another attempt", again, err)
	}
}

// So it does where the lock is removed with all that it protects.
func TestWaitForRemoved(t *testing.T) {
	i := newInstance(t)
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: i}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, again, err := s.wait(ctx, nil); !again || err != nil {
		t.Errorf("wait = %v, %v, want another attempt", again, err)
	}
}

// One who holds the lock without a word is no reason to wait.
func TestWaitForNobody(t *testing.T) {
	i := newInstance(t)
	file, err := os.Create(i.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: i}
	if _, _, err := s.wait(t.Context(), nil); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("wait = %v, want that the lock is held", err)
	}
}

// A start that comes right after the instance was removed says so, and makes nothing of it
// again.
func TestStartOfRemoved(t *testing.T) {
	i := newInstance(t)
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), i, StartOptions{}); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("Start = %v", err)
	}
	if _, err := os.Lstat(i.Paths.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is there again: %v", i.Paths.State, err)
	}
}

// So does a sync.
func TestSyncOfRemoved(t *testing.T) {
	i := newInstance(t)
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := Sync(t.Context(), i, false); !Is(err, Removed) {
		t.Errorf("Sync = %v", err)
	}
}

// Who stops waiting for a stop by force has not given the supervisor its time: it is not
// killed in the middle of it.
func TestForceIsNotHurried(t *testing.T) {
	i := newInstance(t)
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // now it ignores the signal
		t.Fatal(err)
	}
	id, err := process.Find(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := askToStop(ctx, i, id, StopOptions{Force: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("askToStop = %v", err)
	}
	if !id.Alive() {
		t.Error("it was killed")
	}
}

// A command that holds the supervisor lock for a moment is waited for by a stop, and not
// told to end.
func TestStopSparesCommands(t *testing.T) {
	i := newInstance(t)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	defer signal.Stop(told)
	release, err := lock.TryAcquire(i.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, release) // longer than who glances at it
	if stopped, err := Stop(t.Context(), i, StopOptions{}); stopped.Ran || err != nil {
		t.Errorf("Stop = %v, %v", stopped, err)
	}
	select {
	case <-told:
		t.Error("the holder was told to end")
	default:
	}
}

// writeState writes a state with the conditions, as the supervisor that this process is.
func writeState(t *testing.T, i *instance.Instance, failure *state.Failure, conditions ...state.Condition) {
	t.Helper()
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	writeStateOf(t, i, self, failure, conditions...)
}

func writeStateOf(t *testing.T, i *instance.Instance, self process.ID, failure *state.Failure, conditions ...state.Condition) {
	t.Helper()
	data, err := json.Marshal(state.State{Head: state.Head{
		SchemaVersion: state.SchemaVersion, Revision: uint64(time.Now().UnixNano()), Instance: i.Describe(""),
		Supervisor: &state.Supervisor{PID: self.PID, StartTicks: self.StartTime, BootID: self.BootID},
		Conditions: conditions, LastFailure: failure,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(i.Paths.StateFile(), data); err != nil {
		t.Fatal(err)
	}
}

// A start whose time is up when it can look again, as after Ctrl-Z, looks before it gives up: an
// engine that is ready, and perhaps used, is not stopped.
func TestStartLooksOnceMore(t *testing.T) {
	i := newInstance(t)
	release, err := lock.TryAcquireAs(i.Paths.SupervisorLock(), wire.Role)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	writeState(t, i, nil, state.Condition{Type: state.Ready, Status: state.False, Reason: state.ReasonStarting})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	o, err := Start(ctx, i, StartOptions{Progress: func(instance.Observation) {
		<-ctx.Done()
		writeState(t, i, nil, state.Condition{Type: state.Ready, Status: state.True})
	}})
	if err != nil || o.Condition(state.Ready).Status != state.True {
		t.Errorf("Start = %+v, %v", o.Condition(state.Ready), err)
	}
}

// A supervisor that was started beside another one, which has ended since, is not waited for to end:
// it may be the supervisor by now.
func TestWaitForSuccessor(t *testing.T) {
	i := newInstance(t)
	former, id := sleeping(t)
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	writeStateOf(t, i, id, nil)
	ended := make(chan struct{})
	end := sync.OnceFunc(func() {
		go func() {
			defer close(ended)
			_ = former.Process.Kill()
			_ = former.Wait()
			time.Sleep(50 * time.Millisecond) // the successor takes a moment
			writeState(t, i, nil, state.Condition{Type: state.Ready, Status: state.True})
		}()
	})
	defer func() { <-ended }()
	s := &starter{inst: i, StartOptions: StartOptions{Progress: func(instance.Observation) { end() }}}
	waited := make(chan error, 1)
	go func() {
		o, again, err := s.wait(t.Context(), &childProcess{id: self, done: make(chan struct{})})
		if err == nil && (again || !s.done(o)) {
			err = errors.New("it does not see the successor")
		}
		waited <- err
	}()
	select {
	case err := <-waited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for the successor's end")
	}
}

// A start that goes on is seen by whoever looks after it has returned.
func TestStartThatGoesOnIsSeen(t *testing.T) {
	i := newInstance(t)
	s := &starter{inst: i, child: &childProcess{done: make(chan struct{})}}
	timer := time.AfterFunc(10*time.Millisecond, func() {
		if _, err := lock.TryAcquireAs(i.Paths.SupervisorLock(), wire.Role); err != nil { // until the test's end
			t.Error(err)
		}
	})
	defer timer.Stop()
	s.appear()
	if o := instance.Observe(i); !o.Supervised {
		t.Error("there is no supervisor")
	}
}

// An engine that stays down after a crash loop is not waited for, also where the supervisor is
// somebody else's.
func TestWaitForCrashLoop(t *testing.T) {
	i := newInstance(t)
	release, err := lock.TryAcquireAs(i.Paths.SupervisorLock(), wire.Role)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	writeState(t, i, &state.Failure{Reason: state.ReasonCrashLoop, Message: "it ended 6 times in a row"},
		state.Condition{Type: state.EngineReady, Status: state.False, Reason: state.ReasonCrashLoop})
	s := &starter{inst: i}
	_, again, err := s.wait(t.Context(), nil)
	if e, ok := errors.AsType[*Error](err); !ok || again || e.Problem != EngineFailed || !strings.Contains(err.Error(), "6 times") {
		t.Errorf("wait = %v, %v", again, err)
	}
}

// Several restarts of an instance may look at the same time.
func TestCheckFilesTogether(t *testing.T) {
	i := newInstance(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if err := CheckFiles(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(i.Paths.State, "room*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
