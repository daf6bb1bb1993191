package mirror

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Replacing a file over and over has the kernel find new memory and new blocks for each
// version, and ext4 begins at once to write to the disk what takes another's place. So
// the file that was displaced is written over for the next version and the two change
// places again: that takes a third of the time, and the disk gets what is left after
// many versions. Whoever has the displaced file open must not see that; a lease tells
// whether there is somebody, and makes those wait who open it while it is written.

// openSpare opens the displaced file for writing. It fails where somebody has it open
// for longer than patience, where the file has other names, and where there are no
// leases. See fcntl(2).
func openSpare(root *os.Root, name string, patience time.Duration) (*os.File, error) {
	file, err := root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(file.Fd()), &st); err == nil && (st.Nlink != 1 || st.Mode != unix.S_IFREG|0o600) {
		err = unix.EMLINK
	}
	if err == nil {
		err = lease(file, time.Now().Add(patience))
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil // closing it ends the lease
}

// lease takes a write lease on the file, and waits until then for others that have it
// open.
func lease(file *os.File, until time.Time) error {
	for {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(until) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// stamp sets the time of the next version.
func stamp(path string, t time.Time) error { return os.Chtimes(path, t, t) }

// exchange has two files change places.
func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
