package namespaces

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// madeXattr marks a directory of the host that docker rd has made.
const madeXattr = "trusted.docker-rd"

// hostLock is held to make or remove directories of the host. Only root can open it: otherwise
// any user could block all engines.
const hostLock = "/run/docker-rd.lock"

// hostLockPatience is how long a removal waits for the lock, which is held for moments.
const hostLockPatience = 3 * time.Second

// MakeHostDirs makes missing directories of the host. They are not removed while an engine's
// process runs: call it once the helper that will mount on them runs. Ctx bounds the wait for the
// lock of these directories.
func MakeHostDirs(ctx context.Context, dirs []string) error {
	// Directories that others have made are never removed.
	if !slices.ContainsFunc(dirs, func(dir string) bool { return !files.Exists(dir) || Made(dir) }) {
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
	// If it can't be made, dockerd can't make it either.
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	// On a file system without extended attributes it gets no mark and stays.
	_ = unix.Setxattr(dir, madeXattr, []byte("made"), 0)
	return nil
}

// Made reports whether docker rd has made a directory of the host.
func Made(dir string) bool {
	_, err := unix.Getxattr(dir, madeXattr, nil)
	return err == nil
}

// RemoveHostDirs removes directories that docker rd has made, if no engine runs and they are empty.
// The removal of a directory would also unmount what an engine has mounted on it. Ctx bounds the
// wait for their lock.
func RemoveHostDirs(ctx context.Context, dirs []string) error {
	if !slices.ContainsFunc(dirs, Made) {
		return nil
	}
	// Do not wait for a process that is stopped: the next removal removes them too.
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
	for _, dir := range dirs {
		if !Made(dir) {
			continue
		}
		err := os.Remove(dir)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return nil
}
