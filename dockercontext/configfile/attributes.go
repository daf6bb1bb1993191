//go:build linux || darwin

package configfile

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// copyAttributes gives f, a new file, the extended attributes, with them the POSIX ACL,
// of the file at path.
func copyAttributes(f *os.File, path string) error {
	if err := dropInherited(f); err != nil {
		return err
	}
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		return ignoreUnsupported(err)
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(path, list); err != nil {
		return ignoreUnsupported(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		keep, must := keptAttribute(name)
		if !keep {
			continue
		}
		if err := copyAttribute(f, path, name); err != nil && must {
			return &os.PathError{Op: "keep attribute " + name + " of", Path: path, Err: err}
		}
	}
	return nil
}

func copyAttribute(f *os.File, path, name string) error {
	size, err := unix.Lgetxattr(path, name, nil)
	if err != nil {
		return err
	}
	value := make([]byte, size)
	if size, err = unix.Lgetxattr(path, name, value); err != nil {
		return err
	}
	return unix.Fsetxattr(int(f.Fd()), name, value[:size], 0)
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
