//go:build unix

package supervisor

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeInherited closes files that the shell had open, such as a pipe whose reader waits for
// its end, or a script's lock: neither the supervisor nor the engine may keep them open. Files
// that this process has opened itself are close-on-exec.
func closeInherited() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// liftLimits raises the shell's resource limits to those of a service: the engine and its
// containers inherit them. An ordinary user can raise them only up to the hard ones.
func liftLimits() {
	for _, resource := range []int{unix.RLIMIT_CPU, unix.RLIMIT_FSIZE, unix.RLIMIT_DATA, unix.RLIMIT_AS, unix.RLIMIT_NPROC} {
		lift(resource, unix.RLIM_INFINITY, unix.RLIM_INFINITY)
	}
	// systemd's defaults, not infinity: some programs close every descriptor up to the limit
	// when they start.
	lift(unix.RLIMIT_NOFILE, 1024, 524288)
}

// lift raises the limits of a resource to at least these, or the soft one to the hard one.
func lift(resource int, soft, hard uint64) {
	var now unix.Rlimit
	if unix.Getrlimit(resource, &now) != nil || now.Cur >= soft && now.Max >= hard {
		return
	}
	want := unix.Rlimit{Cur: max(now.Cur, soft), Max: max(now.Max, hard)}
	if unix.Setrlimit(resource, &want) != nil {
		want.Cur, want.Max = min(want.Cur, now.Max), now.Max
		_ = unix.Setrlimit(resource, &want)
	}
}
