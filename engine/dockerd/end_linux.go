package dockerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/mounts"
)

// endTimeout is how long the end of all processes may take once they were killed. It
// is spent only on processes that the kernel itself holds.
const endTimeout = 10 * time.Second

// Cleanup ends every process of the engine at once and removes what is left of it,
// whether or not there is a record of it and whatever was killed before. The engine's
// data, its private configuration and its log stay. Nothing to do is no error. When
// ctx ends it gives up and says what is left.
func Cleanup(ctx context.Context, cfg Config) error {
	h, err := findHierarchies()
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	squatted, err := cfg.endProcesses(ctx, h)
	if err != nil || squatted { // then the files are that engine's
		return err
	}
	return cfg.removeLeftovers()
}

// endProcesses kills all processes of the engine, and removes its cgroups. It tells
// whether another engine has the engine's data.
func (c *Config) endProcesses(ctx context.Context, h hierarchies) (squatted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	groups := c.groups(h)
	for {
		f, err := c.scan(h)
		if err != nil {
			return false, err
		}
		// What was seen once stays known, when its shim is dead and its parent another.
		for _, dir := range append(c.groups(h), f.groups...) {
			if !slices.Contains(groups, dir) {
				groups = append(groups, dir)
			}
		}
		squatted = f.squatter != nil
		if len(f.procs) == 0 {
			break
		}
		if ctx.Err() != nil {
			return squatted, fmt.Errorf("processes of the engine do not end: %s", describe(f.procs))
		}
		kill(h, f, groups)
	}
	var errs []error
	for _, dir := range groups {
		if err := removeGroup(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return squatted, errors.Join(errs...)
}

// kill sends SIGKILL to everything found and waits a moment for its end.
func kill(h hierarchies, f *found, groups []string) {
	// The engine first, lest it starts again what ends below it.
	if f.daemon != nil {
		_ = f.daemon.id.Signal(syscall.SIGKILL)
	}
	for _, dir := range groups {
		killGroup(h, dir)
	}
	for _, p := range f.procs {
		_ = p.id.Signal(syscall.SIGKILL)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, p := range f.procs {
		_ = p.id.Wait(ctx)
	}
}

func describe(procs []proc) string {
	var names []string
	for _, p := range procs {
		names = append(names, fmt.Sprintf("%s (%s)", p.id, p.comm))
	}
	return strings.Join(names, ", ")
}

// removeLeftovers removes the files of an engine that has ended.
func (c *Config) removeLeftovers() error {
	errs := []error{
		removeFile(c.Socket),
		c.removeTree(c.ExecRoot),
		c.removeTree(c.private(runDocker)),
		c.removeTree(c.private(runContainerd)),
		removeFile(c.private(hostNetns)),
		removeFile(c.recordPath()),
		removeHostPaths(),
	}
	return errors.Join(errs...)
}

// removeFile removes a file, if it is there.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// removeTree removes a directory with all that is in it. The engine's own mounts ended
// with its mount namespace; whatever is mounted there now is somebody else's.
func (c *Config) removeTree(dir string) error {
	points, err := mounts.Below(dir)
	if err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	if len(points) > 0 {
		return failure.WithHint(fmt.Errorf("remove %q: something is mounted at %q", dir, points[0]), "umount %s", points[0])
	}
	return os.RemoveAll(dir)
}

// Directories of the host that dockerd needs a private version of. On a host without
// docker they don't exist, and something has to be there to mount on.
var hostDirs = []string{"/etc/docker", "/run/docker", "/run/containerd", "/opt/containerd"}

// madeXattr marks a directory of the host as made by docker rd.
const madeXattr = "trusted.docker-rd"

// lockHostDirs excludes others who make or remove them: removing a directory that is
// empty would take away what another engine has mounted on it in its own namespace.
func lockHostDirs() (unlock func(), err error) {
	fd, err := unix.Open("/run", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/run", Err: err}
	}
	if err := flock(fd); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "flock", Path: "/run", Err: err}
	}
	return func() { _ = unix.Close(fd) }, nil
}

func flock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// makeHostDir makes a directory of the host, empty, if it is missing.
func makeHostDir(dir string) error {
	err := unix.Mkdir(dir, 0o755)
	// Where it can't be made, dockerd can't make it either.
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	// Without the mark, where a file system has none, it stays: that is the safe side.
	_ = unix.Setxattr(dir, madeXattr, []byte("made"), 0)
	return nil
}

// makeHostSocket makes a socket of the host at which nobody listens, if there is nothing:
// dockerd would make a directory there for the first container that mounts it. Whoever
// connects on the host is refused, as if nothing were there.
func makeHostSocket(path string) error {
	err := unix.Mknod(path, unix.S_IFSOCK|0o666, 0)
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mknod", Path: path, Err: err}
	}
	// One without the mark would stay, and a socket is no harmless directory.
	if err := errors.Join(unix.Setxattr(path, madeXattr, []byte("made"), 0), unix.Chmod(path, 0o666)); err != nil {
		return errors.Join(&os.PathError{Op: "mark", Path: path, Err: err}, unix.Unlink(path))
	}
	return nil
}

// made tells whether docker rd has made a directory or a socket of the host.
func made(path string) bool {
	_, err := unix.Getxattr(path, madeXattr, nil)
	return err == nil
}

// removeHostPaths removes what docker rd has made, when no engine runs and nobody else
// uses it: of directories only empty ones can be removed this way, and a socket that
// somebody listens at was put in the place of ours.
func removeHostPaths() error {
	if !slices.ContainsFunc(hostDirs, made) && !made(dockerSock) {
		return nil
	}
	unlock, err := lockHostDirs()
	if err != nil {
		return err
	}
	defer unlock()
	if others, err := othersRun(); err != nil || others {
		return err
	}
	for _, dir := range hostDirs {
		if !made(dir) {
			continue
		}
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	if made(dockerSock) {
		return removeFile(dockerSock)
	}
	return nil
}

// Names in the directory of the engine's private versions of shared paths.
const (
	etcDocker     = "etc-docker"     // /etc/docker: key.json is the engine's identity
	runDocker     = "run-docker"     // /run/docker, ends with the engine
	runContainerd = "run-containerd" // /run/containerd, ends with the engine
	optContainerd = "opt-containerd" // /opt/containerd
	resolvConf    = "resolv.conf"    // /etc/resolv.conf
	hostNetns     = "host-netns"     // the host's network namespace, for the proxies
	daemonJSON    = "daemon.json"    // the configuration dockerd reads
)

func (c *Config) private(name string) string { return filepath.Join(c.StateDir, "private", name) }
