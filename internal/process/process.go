// Package process identifies processes by more than their number.
//
// Pids are reused, within hours on a busy machine and at once after a reboot. An [ID] is unique: it
// also has the start time of the process, by the kernel's clock, and the boot. IDs are written to
// files and read by other processes.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// ErrGone says that a process has ended. It matches [os.ErrProcessDone].
var ErrGone = fmt.Errorf("no such process: %w", os.ErrProcessDone)

// An ID identifies one process of one boot of a machine. The zero ID identifies none.
type ID struct {
	PID int `json:"pid"`
	// StartTime is when the process was started, in the unit of the operating
	// system: on Linux clock ticks since boot (proc_pid_stat(5), field 22), on
	// macOS microseconds since 1970, on Windows the creation FILETIME. Use it only to compare.
	StartTime uint64 `json:"startTicks"`
	// BootID changes with each boot; empty if StartTime alone is unique.
	BootID string `json:"bootId"`
}

// Self returns the ID of the calling process.
func Self() (ID, error) { return Find(os.Getpid()) }

// Find returns the ID of the process with the pid. If it has ended, or is a zombie, the error
// matches [ErrGone].
func Find(pid int) (ID, error) { return find(pid, false) }

// FindChild returns the ID of a child that was not waited for yet. It may have ended: its pid is
// not reused until then.
func FindChild(pid int) (ID, error) { return find(pid, true) }

// find returns the ID of the process that has pid now. If ended is true, it may be a zombie.
func find(pid int, ended bool) (ID, error) {
	if pid <= 0 {
		return ID{}, fmt.Errorf("process %d: %w", pid, ErrGone)
	}
	start, err := startTime(pid, ended)
	if err != nil {
		return ID{}, fmt.Errorf("process %d: %w", pid, err)
	}
	boot, err := bootID()
	if err != nil {
		return ID{}, fmt.Errorf("process %d: boot id: %w", pid, err)
	}
	return ID{PID: pid, StartTime: start, BootID: boot}, nil
}

// Alive reports whether the process runs. A zombie does not run, nor does one for which this
// can't be determined.
func (id ID) Alive() bool {
	now, err := Find(id.PID)
	return err == nil && now == id
}

// Wait returns nil when the process has ended, or the context's error if ctx ends first, and the
// process still runs. The process need not be a child. Its exit status is not available.
func (id ID) Wait(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		err = id.wait(ctx)
	}
	switch {
	case err == nil, errors.Is(err, ErrGone):
		return nil
	case ctx.Err() == nil:
		return err
	case !id.Alive(): // both have ended, as where the caller was stopped for a while
		return nil
	}
	return ctx.Err()
}

// Signal sends sig to the process, never to another one with the same pid. If the process has ended,
// the error matches [ErrGone]. On Windows every signal ends the process.
func (id ID) Signal(sig syscall.Signal) error {
	p, err := id.open()
	if err == nil {
		defer p.Release()
		if runtime.GOOS == "windows" {
			sig = syscall.SIGKILL
		}
		err = p.Signal(sig)
	}
	if errors.Is(err, os.ErrProcessDone) {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// open returns the process, or [ErrGone]. The caller releases it.
func (id ID) open() (*os.Process, error) {
	if id.PID <= 0 {
		return nil, ErrGone
	}
	p, err := os.FindProcess(id.PID)
	if id.Alive() { // so it was found: its pid can't be reused from then on
		return p, err
	}
	if err == nil {
		_ = p.Release()
	}
	return nil, ErrGone
}

// StartedAt returns when the process was started, in milliseconds of the current clock; the zero
// time if unknown.
func (id ID) StartedAt() time.Time {
	if id.StartTime == 0 {
		return time.Time{}
	}
	return id.startedAt().UTC().Round(time.Millisecond)
}

// String returns the process for a message.
func (id ID) String() string { return fmt.Sprintf("pid %d", id.PID) }

// pollInterval is how often a process is polled if the system does not report its end.
const pollInterval = 50 * time.Millisecond

// poll waits for the end of the process by polling it.
func (id ID) poll(ctx context.Context) error {
	for id.Alive() {
		if err := pause.For(ctx, pollInterval); err != nil {
			return err
		}
	}
	return nil
}
