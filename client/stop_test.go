//go:build !windows

package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// sleeping starts a process, which the caller kills and waits for.
func sleeping(t *testing.T) (*exec.Cmd, process.ID) {
	t.Helper()
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := process.FindChild(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, id
}

// ended returns a process that was killed.
func ended(t *testing.T) process.ID {
	t.Helper()
	cmd, id := sleeping(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return id
}

// A supervisor that dies before it has read that it is to stop leaves no outcome.
func TestStopOfSupervisorThatHasEnded(t *testing.T) {
	i := newInstance(t)
	id := ended(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := askToStop(ctx, i, id, StopOptions{}); err != nil || ctx.Err() != nil {
		t.Errorf("askToStop = %v, %v", err, ctx.Err())
	}
}

// A stop whose time is up when it can look again, as after Ctrl-Z, does not say that it goes on.
func TestStopLooksOnceMore(t *testing.T) {
	i := newInstance(t)
	id := ended(t)
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	s := &stopper{inst: i, asked: map[process.ID]bool{}}
	if err := s.stopHolder(late, lock.Holder{ID: id, Role: wire.Role}); err != nil {
		t.Errorf("after the end of the supervisor: %v", err)
	}
	if err := AwaitStopped(late, i); err != nil {
		t.Errorf("AwaitStopped = %v", err)
	}
}

// A supervisor that was killed leaves its description in the lock, and its pid may be another
// process's by now: that is not told to end, and not waited for, because somebody else holds the lock.
func TestStopBesideDescriptionOfKilled(t *testing.T) {
	i := newInstance(t)
	innocent := exec.Command("sleep", "60")
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = innocent.Wait()
		close(ended)
	}()
	defer func() {
		_ = innocent.Process.Kill()
		<-ended
	}()
	path := i.Paths.SupervisorLock()
	left := fmt.Sprintf(" {\"pid\":%d,\"startTicks\":1,\"bootId\":\"before\",\"command\":\"docker-rd supervise\",\"role\":%q,\"since\":\"2026-01-02T03:04:05Z\"}\n",
		innocent.Process.Pid, wire.Role)
	if err := os.WriteFile(path, []byte(left), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &starter{inst: i}
	if _, _, err := s.wait(ctx, nil); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("wait of a start = %v, want that the lock is held", err)
	}
	if id, err := supervisorHolding(i, lockHolder(t, path)); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a stop would end process %v, %v", id, err)
	}
}

// lockHolder returns the holder that one who wants the lock is told of.
func lockHolder(t *testing.T, path string) lock.Holder {
	t.Helper()
	_, err := lock.TryAcquire(path)
	held, ok := errors.AsType[*lock.HeldError](err)
	if !ok {
		t.Fatalf("TryAcquire = %v, want that the lock is held", err)
	}
	return held.Holder
}
