package namespaces

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
)

// madeXattr marks a directory, or the socket, of the host as made by docker rd.
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

// Made reports whether docker rd has made a directory or a socket of the host.
func Made(path string) bool {
	_, err := unix.Getxattr(path, madeXattr, nil)
	return err == nil
}

// RemoveHostPaths removes what docker rd has made of these, when no engine runs and nobody
// else uses it: of directories only empty ones can be removed this way, and a socket that
// somebody listens at was put in the place of ours.
func RemoveHostPaths(dirs []string, socket string) error {
	if !slices.ContainsFunc(dirs, Made) && !Made(socket) {
		return nil
	}
	unlock, err := lockHostDirs()
	if err != nil {
		return err
	}
	defer unlock()
	if others, err := processes.AnyRuns(); err != nil || others {
		return err
	}
	for _, dir := range dirs {
		if !Made(dir) {
			continue
		}
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	if Made(socket) {
		if err := os.Remove(socket); !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
