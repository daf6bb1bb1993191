//go:build unix

package lock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// open opens the lock file at path, or makes it, as flag says.
func open(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0o600) }

// lock locks the file, or changes its lock, without waiting and reports whether it could.
func (f lockFile) lock(shared bool) (bool, error) {
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func (f lockFile) unlock() error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
