package process

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var bootID = sync.OnceValues(func() (string, error) { return unix.Sysctl("kern.bootsessionuuid") })

// zombie is p_stat of a process that has ended and was not waited for, SZOMB in
// <sys/proc.h>.
const zombie = 5

func startTime(pid int, ended bool) (uint64, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	// For a pid nobody has, the kernel answers with nothing, which reads as EIO.
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, err
	}
	if int(info.Proc.P_pid) != pid || info.Proc.P_stat == zombie && !ended {
		return 0, ErrGone
	}
	t := info.Proc.P_starttime
	return uint64(t.Sec)*1e6 + uint64(t.Usec), nil
}

// wait polls: kqueue would need a thread of its own here, and only
// the supervisor of an engine run elsewhere is watched on macOS.
func (id ID) wait(ctx context.Context) error { return id.poll(ctx) }

func (id ID) startedAt() time.Time { return time.UnixMicro(int64(id.StartTime)) }

// Dying reports no: the system does not tell.
func (id ID) Dying() bool { return false }
