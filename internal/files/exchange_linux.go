package files

import "golang.org/x/sys/unix"

func exchange(a, b string) error { return renameat(a, b, unix.RENAME_EXCHANGE) }

func renameNew(from, to string) error { return renameat(from, to, unix.RENAME_NOREPLACE) }

func renameat(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}
