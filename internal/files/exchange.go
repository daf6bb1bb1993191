package files

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrNoExchange says that the file system can't exchange two files. It is an
// [errors.ErrUnsupported].
var ErrNoExchange = fmt.Errorf("exchange two files: %w", errors.ErrUnsupported)

// Exchange swaps two files, or links, in one step. Where that can't be done the error is
// [ErrNoExchange].
func Exchange(a, b string) error {
	err := exchange(a, b)
	if unsupported(err) {
		return ErrNoExchange
	}
	return linkError("exchange", a, b, err)
}

// RenameNew renames a file, or a link, to a name that must not exist yet: the error is
// [io/fs.ErrExist] then.
func RenameNew(from, to string) error {
	err := renameNew(from, to)
	if !unsupported(err) {
		return linkError("rename", from, to, err)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// unsupported reports whether the system, or the file system, can't do it.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}
