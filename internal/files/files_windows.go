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

// openFile shares the file with whoever replaces or removes it, and opens nothing else: package os
// opens directories, those of [os.OpenRoot] too, so that nobody can remove them meanwhile.
func openFile(path string, flag int) (file *os.File, err error) {
	access := uint32(windows.GENERIC_READ)
	switch {
	case flag&os.O_APPEND != 0:
		access = windows.FILE_GENERIC_WRITE &^ windows.FILE_WRITE_DATA
	case flag&os.O_WRONLY != 0:
		access = windows.GENERIC_WRITE
	case flag&os.O_RDWR != 0:
		access |= windows.GENERIC_WRITE
	}
	disposition := uint32(windows.OPEN_EXISTING)
	if flag&os.O_CREATE != 0 {
		disposition = windows.OPEN_ALWAYS
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var handle windows.Handle
	err = retry(func() error {
		handle, err = windows.CreateFile(name, access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
			nil, disposition, windows.FILE_FLAG_BACKUP_SEMANTICS, 0) // of a directory too
		return err
	}, windows.ERROR_SHARING_VIOLATION)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file = os.NewFile(uintptr(handle), path)
	if flag&os.O_TRUNC != 0 {
		err = file.Truncate(0)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func remove(path string) error {
	return inRoot(path, func(root *os.Root, name string) error { return root.Remove(name) })
}

func removeAll(path string) error {
	err := inRoot(path, func(root *os.Root, name string) error { return root.RemoveAll(name) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory that it would be in
	}
	return err
}

func rename(from, to string) error {
	return inRoot(from, func(root *os.Root, name string) error { return root.Rename(name, filepath.Base(to)) })
}

// inRoot calls do with the directory of path and the name in it. [os.Root] does what the functions
// of package os do not: it renames and removes with POSIX semantics. Errors name the path.
func inRoot(path string, do func(root *os.Root, name string) error) error {
	return retry(func() error { return tryInRoot(path, do) }, windows.ERROR_SHARING_VIOLATION, windows.ERROR_ACCESS_DENIED)
}

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

const (
	patience   = time.Second
	retryDelay = 5 * time.Millisecond
)

// retry calls do again while its error is one of inUse, for as long as patience: somebody else may
// have the file, or the directory, open in a way that forbids it. Virus scanners, other people's
// readers, and whoever lists a directory do so for a moment.
func retry(do func() error, inUse ...error) error {
	for waited := time.Duration(0); ; waited += retryDelay {
		err := do()
		is := func(target error) bool { return errors.Is(err, target) }
		if err == nil || waited >= patience || !slices.ContainsFunc(inUse, is) {
			return err
		}
		time.Sleep(retryDelay)
	}
}

// SyncDir does nothing: NTFS keeps a journal of names, and a directory can't be synced.
func SyncDir(string) error { return nil }
