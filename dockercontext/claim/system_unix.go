//go:build !windows

package claim

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// linkID returns what identifies the link at path. Anything else there is an error.
func linkID(path string) (device, inode uint64, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, 0, err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return 0, 0, &fs.PathError{Op: "readlink", Path: path, Err: syscall.EINVAL}
	}
	st := info.Sys().(*syscall.Stat_t)
	return uint64(st.Dev), st.Ino, nil
}

// nobodyListens reports whether err, of connecting to a socket, proves it.
func nobodyListens(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}
