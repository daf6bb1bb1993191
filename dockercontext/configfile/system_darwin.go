package configfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two files in one step. See renamex_np(2).
func exchange(a, b string) error {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return errNoExchange
	}
	return linkError("exchange", a, b, err)
}

// renameNew renames a file to a name that must not exist yet.
func renameNew(from, to string) error {
	err := unix.RenamexNp(from, to, unix.RENAME_EXCL)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return linkNew(from, to)
	}
	return linkError("rename", from, to, err)
}

// dropInherited: access control lists are no attributes here, and are not kept.
func dropInherited(*os.File) error { return nil }

// keptAttribute says whether an extended attribute goes over to the new file, and
// whether a failure to do so matters.
func keptAttribute(string) (keep, must bool) { return true, false }

func isMountPoint(string) bool { return false } // there are no bind mounts of files

func isImmutable(string) bool { return false } // faccessat(2) says so

// There are no leases.

func takeLease(*os.File) error { return errors.ErrUnsupported }

func endLease(*os.File) error { return nil }

func beingWritten(*os.File) bool { return false }
