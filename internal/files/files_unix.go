//go:build unix

package files

import (
	"errors"
	"os"
	"syscall"
)

const errNotEmpty = syscall.ENOTEMPTY

func openFile(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0o600) }

func remove(path string) error { return os.Remove(path) }

func removeAll(path string) error { return os.RemoveAll(path) }

func rename(from, to string) error { return os.Rename(from, to) }

// SyncDir has the names in a directory written to the disk.
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
