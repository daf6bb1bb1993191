package process

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// bootID is empty: a creation time is absolute and unique without it.
func bootID() (string, error) { return "", nil }

// open returns a handle of the process that has pid now. A process that has ended
// can still be opened while somebody else holds a handle.
func open(pid int, access uint32) (windows.Handle, error) {
	h, err := windows.OpenProcess(access|windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return 0, ErrGone
	}
	return h, err
}

func created(h windows.Handle) (uint64, error) {
	var creation, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(h, &creation, &exit, &kernel, &user); err != nil {
		return 0, err
	}
	return uint64(creation.HighDateTime)<<32 | uint64(creation.LowDateTime), nil
}

func ended(h windows.Handle) bool {
	event, err := windows.WaitForSingleObject(h, 0)
	return err == nil && event == windows.WAIT_OBJECT_0
}

func startTime(pid int, evenEnded bool) (uint64, error) {
	h, err := open(pid, 0)
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	if ended(h) && !evenEnded {
		return 0, ErrGone
	}
	return created(h)
}

// handle returns a handle of this very process. An ID with a boot is of another system.
func (id ID) handle(access uint32) (windows.Handle, error) {
	if id.PID <= 0 || id.BootID != "" {
		return 0, ErrGone
	}
	h, err := open(id.PID, access)
	if err != nil {
		return 0, err
	}
	if start, err := created(h); err != nil || start != id.StartTime || ended(h) {
		_ = windows.CloseHandle(h)
		return 0, errors.Join(err, ErrGone)
	}
	return h, nil
}

func (id ID) wait(ctx context.Context) error {
	h, err := id.handle(0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	for {
		event, err := windows.WaitForSingleObject(h, uint32(pollInterval.Milliseconds()))
		if err != nil {
			return err
		}
		if event == windows.WAIT_OBJECT_0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (id ID) signal(syscall.Signal) error {
	h, err := id.handle(windows.PROCESS_TERMINATE)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(h)
	return windows.TerminateProcess(h, 1)
}

func (id ID) startedAt() time.Time {
	ft := windows.Filetime{LowDateTime: uint32(id.StartTime), HighDateTime: uint32(id.StartTime >> 32)}
	return time.Unix(0, ft.Nanoseconds())
}
