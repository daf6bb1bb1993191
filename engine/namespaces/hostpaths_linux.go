package namespaces

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/lock"
)

// madeXattr marks a directory of the host as made by docker rd.
const madeXattr = "trusted.docker-rd"

// hostLock excludes those who make or remove directories of the host. Only root can open it,
// or anyone could hold up all engines.
const hostLock = "/run/docker-rd.lock"

// hostLockPatience is how long a removal waits for the lock, which is held for a moment.
const hostLockPatience = 3 * time.Second

// MakeHostDirs makes those of the directories of the host that are missing. They stay as
// long as an engine's process runs: call it when the helper that will mount on them does.
func MakeHostDirs(ctx context.Context, dirs []string) error {
	// Nobody removes what others have made.
	if !slices.ContainsFunc(dirs, func(dir string) bool { return !exists(dir) || Made(dir) }) {
		return nil
	}
	unlock, err := lock.Acquire(ctx, hostLock)
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range dirs {
		if err := makeHostDir(dir); err != nil {
			return err
		}
	}
	return nil
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

// Made reports whether docker rd has made a path of the host.
func Made(path string) bool {
	_, err := unix.Getxattr(path, madeXattr, nil)
	return err == nil
}

// RemoveHostPaths removes those of the paths that docker rd has made, when no engine runs
// and nobody else uses them: directories only while they are empty. The removal of a
// directory takes away what an engine has mounted on it.
func RemoveHostPaths(ctx context.Context, paths []string) error {
	if !slices.ContainsFunc(paths, Made) {
		return nil
	}
	// They are no reason to wait for somebody who is stopped. The next one removes them.
	ctx, cancel := context.WithTimeout(ctx, hostLockPatience)
	defer cancel()
	unlock, err := lock.Acquire(ctx, hostLock)
	if errors.Is(err, lock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if others, err := processes.AnyRuns(); err != nil || others {
		return err
	}
	for _, path := range paths {
		if !Made(path) {
			continue
		}
		err := os.Remove(path)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return nil
}
