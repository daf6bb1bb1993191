package namespaces

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/files"
)

// In a user namespace the helper does not become the daemon. It stays the first process of a pid
// namespace and starts the daemon. Its end is the end of everything there.

// CommInit is the command name of the helper once it has started the daemon.
const CommInit = "docker-rd-init"

// userArg is [initArg] for a helper in a new user namespace. It waits until it has ids there,
// which is when its plan arrives, and then executes itself again as uid 0, which gives it all
// capabilities of the namespace.
const userArg = "__init-user"

// A UserPlan is what a helper does in a user namespace.
type UserPlan struct {
	CopyUp []string
	// Staging is an empty directory for temporary use, outside of them.
	Staging string
	// Group is the cgroup of version 2 that is delegated to the engine, in which the helper is, or "".
	Group string
}

// awaitIDs runs the helper again, as uid 0.
func awaitIDs() error {
	fds := []unix.PollFd{{Fd: planFD, Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
	}
	return os.NewSyscallError("exec", unix.Exec("/proc/self/exe", []string{os.Args[0], initArg}, os.Environ()))
}

// mountSystem mounts a /proc of this pid namespace, and a /sys of this network namespace with the
// cgroups in it.
func (p *UserPlan) mountSystem() error {
	const sys, groups = "/sys", "/sys/fs/cgroup"
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// The root of the namespace is the group in which it is made.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	if p.Group == "" {
		if err := unix.Mount(groups, p.Staging, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep the cgroups: %w", err)
		}
	}
	if err := unix.Mount("sysfs", sys, "sysfs", flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w", sys, err)
	}
	if p.Group != "" {
		if err := unix.Mount("cgroup2", groups, "cgroup2", flags, ""); err != nil {
			return fmt.Errorf("mount the cgroups: %w", err)
		}
		return leaveRoot(groups)
	}
	if err := unix.Mount(p.Staging, groups, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount the cgroups: %w", err)
	}
	return os.NewSyscallError("umount", unix.Unmount(p.Staging, unix.MNT_DETACH))
}

// copyUp replaces directories by writable copies.
func (p *UserPlan) copyUp() error {
	for _, dir := range p.CopyUp {
		if err := copyUp(dir, p.Staging); err != nil {
			return fmt.Errorf("a writable %s: %w", dir, err)
		}
	}
	return nil
}

// copyUp replaces a directory by a tmpfs in which all its entries are bound.
func copyUp(dir, stage string) error {
	if err := unix.Mount("tmpfs", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// What can't be copied is left out: a file that was just removed, or that the user may
		// not read.
		_ = copyEntry(filepath.Join(dir, e.Name()), filepath.Join(stage, e.Name()), e.Type())
	}
	// A shared mount can't be moved.
	if err := unix.Mount("", stage, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount(stage, dir, "", unix.MS_MOVE, "")
}

func copyEntry(from, to string, typ os.FileMode) error {
	switch {
	case typ&os.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case typ.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(to, nil, 0o644); err != nil {
			return err
		}
	}
	return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
}

// makeTarget makes the mount point of the bind, below a directory that was copied up.
func (b Bind) makeTarget() error {
	info, err := os.Stat(b.Source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(b.Target, 0o755)
	}
	// A link may dangle, or lead to a file that the host replaces.
	if there, err := os.Lstat(b.Target); err == nil && there.Mode()&os.ModeSymlink != 0 {
		if err := os.Remove(b.Target); err != nil {
			return err
		}
	}
	if files.Exists(b.Target) {
		return nil
	}
	return os.WriteFile(b.Target, nil, 0o644)
}

// runInit starts the daemon and stays the first process of the namespace until the daemon ends.
// It forwards signals and reaps orphans. Report is closed once the daemon runs.
func runInit(p Plan, report io.Closer) error {
	if err := unix.Dup3(pipeFD, ExitFD, unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("exit pipe: %w", err)
	}
	_ = unix.Close(pipeFD)
	if err := os.WriteFile("/proc/self/comm", []byte(CommInit), 0); err != nil {
		return err
	}
	syscall.Umask(0o022)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGCHLD)
	daemon := exec.Command(p.Exec[0], p.Exec[1:]...)
	daemon.Env, daemon.Dir = p.Env, "/"
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		return fmt.Errorf("run %q: %w", p.Exec[0], err)
	}
	_ = report.Close()
	for s := range signals {
		if s != unix.SIGCHLD {
			_ = daemon.Process.Signal(s)
			continue
		}
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
			if err != nil || pid <= 0 {
				break
			}
			if pid == daemon.Process.Pid {
				code := status.ExitStatus()
				if status.Signaled() {
					code = signalled + int(status.Signal())
				}
				os.Exit(code) // the kernel ends all the others
			}
		}
	}
	return nil
}
