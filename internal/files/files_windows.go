package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/windows"
)

const errNotEmpty = windows.ERROR_DIR_NOT_EMPTY

// inRoot calls do with the directory of path and the name in it. [os.Root] does what
// package os does not: it opens files with FILE_SHARE_DELETE, and renames and removes them
// with POSIX semantics. Errors name the path.
//
// Somebody else may have the file open in a way that forbids it: virus scanners and other
// people's readers do so for a moment. So it is tried again while that is the error.
func inRoot(path string, do func(root *os.Root, name string) error, inUse ...error) error {
	for waited := time.Duration(0); ; waited += retryDelay {
		err := tryInRoot(path, do)
		is := func(target error) bool { return errors.Is(err, target) }
		if err == nil || waited >= patience || !slices.ContainsFunc(inUse, is) {
			return err
		}
		time.Sleep(retryDelay)
	}
}

const (
	patience   = time.Second
	retryDelay = 5 * time.Millisecond
)

func tryInRoot(path string, do func(root *os.Root, name string) error) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = do(root, name)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		p.Path = filepath.Join(dir, p.Path)
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		l.Old, l.New = filepath.Join(dir, l.Old), filepath.Join(dir, l.New)
	}
	return err
}

func openFile(path string, flag int, perm fs.FileMode) (file *os.File, err error) {
	err = inRoot(path, func(root *os.Root, name string) error {
		file, err = root.OpenFile(name, flag, perm)
		return err
	}, windows.ERROR_SHARING_VIOLATION)
	return file, err
}

func remove(path string) error {
	return inRoot(path, func(root *os.Root, name string) error { return root.Remove(name) },
		windows.ERROR_SHARING_VIOLATION, windows.ERROR_ACCESS_DENIED)
}

func removeAll(path string) error {
	err := inRoot(path, func(root *os.Root, name string) error { return root.RemoveAll(name) },
		windows.ERROR_SHARING_VIOLATION, windows.ERROR_ACCESS_DENIED)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory that it would be in
	}
	return err
}

func rename(from, to string) error {
	return inRoot(from, func(root *os.Root, name string) error { return root.Rename(name, filepath.Base(to)) },
		windows.ERROR_SHARING_VIOLATION, windows.ERROR_ACCESS_DENIED)
}

// SyncDir does nothing: NTFS keeps a journal of names, and a directory can't be synced.
func SyncDir(string) error { return nil }
