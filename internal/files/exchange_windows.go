package files

import (
	"errors"

	"golang.org/x/sys/windows"
)

func exchange(string, string) error { return errors.ErrUnsupported }

func renameNew(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	return windows.MoveFileEx(f, t, windows.MOVEFILE_WRITE_THROUGH)
}
