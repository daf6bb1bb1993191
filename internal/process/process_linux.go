package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var bootID = sync.OnceValues(func() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
})

func startTime(pid int, ended bool) (uint64, error) {
	s, err := ReadStat(pid)
	if err != nil {
		return 0, err
	}
	// A zombie keeps its pid and start time.
	if s.Ended() && !ended {
		return 0, ErrGone
	}
	return s.StartTime, nil
}

// A Stat holds fields of /proc/PID/stat.
type Stat struct {
	Comm      string // the command's name, cut to 15 bytes by the kernel
	State     byte   // R, S, D, Z, …
	PPID      int
	StartTime uint64        // clock ticks since boot
	CPU       time.Duration // processor time that it has used
	Kernel    bool          // it is a thread of the kernel
	Dying     bool          // it was killed, or exits: the kernel ends its threads one after another
}

// Ended reports whether the process is a zombie or already dead.
func (s Stat) Ended() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// ReadStat reads /proc/PID/stat. Without such a process, the error matches [ErrGone].
func ReadStat(pid int) (Stat, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Stat{}, ErrGone
	}
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(data)
	if err != nil {
		return Stat{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parseStat parses proc_pid_stat(5). The command's name may contain blanks, parentheses and
// newlines: the other fields follow the last parenthesis.
func parseStat(data []byte) (Stat, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Stat{}, errors.New("no command name")
	}
	const (
		first     = 3 // the fields are numbered as in the manual
		state     = 0
		ppid      = 4 - first
		flags     = 9 - first
		utime     = 14 - first
		stime     = 15 - first
		starttime = 22 - first
		pending   = 31 - first
	)
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= pending || len(fields[state]) != 1 {
		return Stat{}, errors.New("too few fields")
	}
	s := Stat{Comm: string(data[open+1 : end]), State: fields[state][0]}
	var err error
	if s.PPID, err = strconv.Atoi(fields[ppid]); err != nil {
		return Stat{}, fmt.Errorf("parent: %w", err)
	}
	if s.StartTime, err = strconv.ParseUint(fields[starttime], 10, 64); err != nil {
		return Stat{}, fmt.Errorf("start time: %w", err)
	}
	const exiting, kthread = 0x00000004, 0x00200000 // PF_EXITING and PF_KTHREAD of the kernel's sched.h
	bits, err := strconv.ParseUint(fields[flags], 10, 32)
	if err != nil {
		return Stat{}, fmt.Errorf("flags: %w", err)
	}
	signals, err := strconv.ParseUint(fields[pending], 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("pending signals: %w", err)
	}
	s.Kernel, s.Dying = bits&kthread != 0, bits&exiting != 0 || signals&(1<<(unix.SIGKILL-1)) != 0
	for _, field := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			return Stat{}, fmt.Errorf("processor time: %w", err)
		}
		s.CPU += time.Duration(ticks) * time.Second / userHz
	}
	return s, nil
}

// Dying reports whether the process was killed, or exits. It may still be [ID.Alive], and hold locks.
func (id ID) Dying() bool {
	s, err := ReadStat(id.PID)
	return err == nil && s.StartTime == id.StartTime && s.Dying
}

// StatusField returns the values of a field of /proc/PID/status, such as "Uid" (proc_pid_status(5)):
// none if the process has ended.
func StatusField(pid int, name string) []string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if values, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(values)
		}
	}
	return nil
}

func (id ID) wait(ctx context.Context) error {
	p, err := id.open()
	if err != nil {
		return err
	}
	fd := -1
	handleErr := p.WithHandle(func(pidfd uintptr) { fd, err = unix.FcntlInt(pidfd, unix.F_DUPFD_CLOEXEC, 0) })
	_ = p.Release()       // one descriptor is enough: there may be thousands of waits
	if handleErr != nil { // before Linux 5.4
		return id.poll(ctx)
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	// Non-blocking, so that the runtime's poller waits, without a thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		// A pidfd can be read from when its process has ended (pidfd_open(2)).
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n == 1
	})
}

// userHz is the unit of /proc/PID/stat's times, in ticks a second: the kernel fixes it
// at 100 for user space (USER_HZ) on every architecture that Go knows.
const userHz = 100

func (id ID) startedAt() time.Time {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return time.Time{}
	}
	age := time.Duration(boot.Nano()) - time.Duration(id.StartTime)*time.Second/userHz
	return time.Now().Add(-age)
}
