package configfile

import (
	"errors"
	"io/fs"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/docker-rd/docker-rd/internal/files"
)

// inodesFollowNames: ReplaceFile does not promise which file keeps its identity.
const inodesFollowNames = false

const noFollow = 0

var procReplaceFile = windows.NewLazySystemDLL("kernel32.dll").NewProc("ReplaceFileW")

// Of ReplaceFileW: nothing was done, since the old file can't be moved; and the old file
// has its backup name, but the new one was not moved.
const (
	errorUnableToRemoveReplaced   = windows.Errno(1175)
	errorUnableToMoveReplacement2 = windows.Errno(1177)
)

// exchange puts a in the place of b, keeping b's attributes and access rights, and
// then gives the old b the name of a. Between the two steps it is called a.old.
func exchange(a, b string) error {
	backup := a + backupSuffix
	err := replaceFile(b, a, backup)
	// Whoever reads the file without sharing it, as docker does, has it open for a moment.
	for end := time.Now().Add(patience); inUse(err) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		err = replaceFile(b, a, backup)
	}
	if errors.Is(err, errorUnableToMoveReplacement2) {
		err = errors.Join(err, files.RenameNew(backup, b))
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	fault("replaced")
	return files.RenameNew(backup, a)
}

// inUse reports whether another program has one of the files open, and nothing was done.
func inUse(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, errorUnableToRemoveReplaced)
}

func replaceFile(replaced, replacement, backup string) error {
	var names [3]*uint16
	for i, name := range []string{replaced, replacement, backup} {
		p, err := windows.UTF16PtrFromString(name)
		if err != nil {
			return err
		}
		names[i] = p
	}
	ok, _, err := procReplaceFile.Call(uintptr(unsafe.Pointer(names[0])), uintptr(unsafe.Pointer(names[1])),
		uintptr(unsafe.Pointer(names[2])), 0, 0, 0)
	if ok != 0 {
		return nil
	}
	return err
}

// systemReason returns the refusal that an error of the system means, "" for none.
func systemReason(err error) Reason {
	switch {
	case errors.Is(err, windows.ERROR_DISK_FULL), errors.Is(err, windows.ERROR_HANDLE_DISK_FULL):
		return NoSpace
	case errors.Is(err, windows.ERROR_WRITE_PROTECT):
		return ReadOnly
	}
	return ""
}

func linkCount(path string, _ fs.FileInfo) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 1 // reading says so better
	}
	defer f.Close()
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return 1
	}
	return uint64(info.NumberOfLinks)
}

// writable returns why info may not be written, or nil. The read-only attribute of a
// directory means something else on Windows.
func writable(_ string, info fs.FileInfo) error {
	if !info.IsDir() && info.Mode().Perm()&0o200 == 0 {
		return windows.ERROR_ACCESS_DENIED
	}
	return nil
}

// canKeepOwner: ReplaceFile keeps the access rights; the owner is not asked for.
func canKeepOwner(fs.FileInfo) bool { return true }

func sameMeta(a, b fs.FileInfo) bool { return a.Mode() == b.Mode() }

// copyMeta has nothing to do: ReplaceFile keeps attributes and access rights.
func copyMeta(*os.File, string, version) error { return nil }

// MakeDir makes dir and what is missing above it.
func MakeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

// openOwn opens a file of our own at path, or makes it.
func openOwn(path string) (*os.File, error) {
	return files.OpenFile(path, os.O_RDWR|os.O_CREATE)
}
