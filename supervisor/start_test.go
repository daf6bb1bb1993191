//go:build !windows

package supervisor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
)

// A start notices when a lock is released by somebody who wrote no state: one who was
// dying when it looked, or who removes something.
func TestWaitForLockOnly(t *testing.T) {
	f := setup(t)
	release, err := lock.TryAcquire(f.inst.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: f.inst}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	looked := make(chan struct{})
	go func() {
		<-looked
		release()
	}()
	if o := Observe(f.inst); !o.Supervised {
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
	f := setup(t)
	if err := f.inst.Remove(); err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: f.inst}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, again, err := s.wait(ctx, nil); !again || err != nil {
		t.Errorf("wait = %v, %v, want another attempt", again, err)
	}
}

// One who holds the lock without a word is no reason to wait.
func TestWaitForNobody(t *testing.T) {
	f := setup(t)
	file, err := os.Create(f.inst.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	s := &starter{inst: f.inst}
	if _, _, err := s.wait(t.Context(), nil); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("wait = %v, want that the lock is held", err)
	}
}

// A start that comes right after the instance was removed says so, and makes nothing of it
// again.
func TestStartOfRemoved(t *testing.T) {
	f := setup(t)
	if err := f.inst.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), f.inst, StartOptions{}); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("Start = %v", err)
	}
	if _, err := os.Lstat(f.inst.Paths.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is there again: %v", f.inst.Paths.State, err)
	}
}

// Who stops waiting for a stop by force has not given the supervisor its time: it is not
// killed in the middle of it.
func TestForceIsNotHurried(t *testing.T) {
	f := setup(t)
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
	if err := askToStop(ctx, f.inst, id, StopOptions{Force: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("askToStop = %v", err)
	}
	if !id.Alive() {
		t.Error("it was killed")
	}
}
