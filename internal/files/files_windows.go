package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"
)

const errNotEmpty = windows.ERROR_DIR_NOT_EMPTY

// inRoot calls do with the directory of path and the name in it. [os.Root] does what
// package os does not: it opens files with FILE_SHARE_DELETE, and renames and removes them
// with POSIX semantics. Errors name the path.
func inRoot(path string, do func(root *os.Root, name string) error) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	err = do(root, filepath.Base(path))
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		p.Path = filepath.Join(filepath.Dir(path), p.Path)
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		l.Old, l.New = filepath.Join(filepath.Dir(path), l.Old), filepath.Join(filepath.Dir(path), l.New)
	}
	return err
}

func openFile(path string, flag int, perm fs.FileMode) (file *os.File, err error) {
	err = inRoot(path, func(root *os.Root, name string) error {
		file, err = root.OpenFile(name, flag, perm)
		return err
	})
	return file, err
}

func remove(path string) error {
	return inRoot(path, func(root *os.Root, name string) error { return patiently(func() error { return root.Remove(name) }) })
}

func removeAll(path string) error {
	err := inRoot(path, func(root *os.Root, name string) error { return patiently(func() error { return root.RemoveAll(name) }) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory that it would be in
	}
	return err
}

func rename(from, to string) error {
	return inRoot(from, func(root *os.Root, name string) error {
		return patiently(func() error { return root.Rename(name, filepath.Base(to)) })
	})
}

// How long something is tried again that fails because somebody has the file open in a way
// that forbids it: virus scanners and other people's readers do so for a moment.
const (
	patience   = time.Second
	retryDelay = 5 * time.Millisecond
)

func patiently(do func() error) error {
	for waited := time.Duration(0); ; waited += retryDelay {
		err := do()
		inUse := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !inUse || waited >= patience {
			return err
		}
		time.Sleep(retryDelay)
	}
}

// syncDir does nothing: NTFS keeps a journal of names, and a directory can't be synced.
func syncDir(string) error { return nil }
