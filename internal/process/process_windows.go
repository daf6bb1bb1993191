package process

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/windows"
)

// bootID is empty: a creation time is absolute and unique without it.
func bootID() (string, error) { return "", nil }

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

// startTime opens the process that has pid now, which may have ended while somebody else holds a handle.
func startTime(pid int, evenEnded bool) (uint64, error) {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION|windows.SYNCHRONIZE, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	defer windows.CloseHandle(h)
	if ended(h) && !evenEnded {
		return 0, ErrGone
	}
	return created(h)
}

// wait polls: a handle could only be waited for by a thread of its own.
func (id ID) wait(ctx context.Context) error { return id.poll(ctx) }

func (id ID) startedAt() time.Time {
	ft := windows.Filetime{LowDateTime: uint32(id.StartTime), HighDateTime: uint32(id.StartTime >> 32)}
	return time.Unix(0, ft.Nanoseconds())
}

// Dying reports no: the system does not tell.
func (id ID) Dying() bool { return false }
