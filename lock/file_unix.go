//go:build unix

package lock

import (
	"errors"

	"golang.org/x/sys/unix"
)

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
