package files

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// See renamex_np(2).
func exchange(a, b string) error {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if unsupported(err) {
		return ErrNoExchange
	}
	return linkError("exchange", a, b, err)
}

func renameNew(from, to string) error {
	err := unix.RenamexNp(from, to, unix.RENAME_EXCL)
	if unsupported(err) {
		return linkNew(from, to)
	}
	return linkError("rename", from, to, err)
}

func unsupported(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL)
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}
