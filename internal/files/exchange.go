package files

import (
	"errors"
	"fmt"
	"os"
)

// ErrNoExchange says that the file system can't exchange two files. It is an
// [errors.ErrUnsupported].
var ErrNoExchange = fmt.Errorf("exchange two files: %w", errors.ErrUnsupported)

// Exchange swaps two files, or links, in one step. Where that can't be done the error is
// [ErrNoExchange].
func Exchange(a, b string) error { return exchange(a, b) }

// RenameNew renames a file, or a link, to a name that must not exist yet: the error is
// [io/fs.ErrExist] then.
func RenameNew(from, to string) error { return renameNew(from, to) }

// linkNew is RenameNew in two steps.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
