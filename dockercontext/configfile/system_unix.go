//go:build !windows

package configfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/files"
)

// exchange swaps two files in one step, or fails with [files.ErrNoExchange].
func exchange(a, b string) error { return files.Exchange(a, b) }

// inodesFollowNames: a renamed file is still the same file to [os.SameFile].
const inodesFollowNames = true

// noFollow makes open refuse a symbolic link.
const noFollow = unix.O_NOFOLLOW

// systemReason returns the refusal that an error of the system means, "" for none.
func systemReason(err error) Reason {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return NoSpace
	case errors.Is(err, unix.EBUSY):
		return BindMount
	case errors.Is(err, unix.EROFS):
		return ReadOnly
	}
	return ""
}

func linkCount(_ string, info fs.FileInfo) uint64 {
	return uint64(info.Sys().(*syscall.Stat_t).Nlink)
}

// writable returns why info, found at path, may not be written, or nil.
func writable(path string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o222 == 0 {
		return unix.EACCES
	}
	if isImmutable(path) {
		return unix.EPERM
	}
	mode := uint32(unix.W_OK)
	if info.IsDir() {
		mode |= unix.X_OK
	}
	return unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS)
}

// canKeepOwner reports whether a new file can be given to the owner of info. A group may
// still be refused.
func canKeepOwner(info fs.FileInfo) bool {
	me := os.Geteuid()
	return me == 0 || uint32(me) == info.Sys().(*syscall.Stat_t).Uid
}

func sameMeta(a, b fs.FileInfo) bool {
	x, y := a.Sys().(*syscall.Stat_t), b.Sys().(*syscall.Stat_t)
	return a.Mode() == b.Mode() && x.Uid == y.Uid && x.Gid == y.Gid
}

// copyMeta gives f, a new file, the owner, the mode and the extended attributes of
// the file at path, which was like. For a zero like, f goes to the owner of its
// directory where we are root: the user must be able to read it.
func copyMeta(f *os.File, path string, like version) error {
	if !like.exists {
		return giveToParentOwner(f.Name(), f.Chown)
	}
	want := like.info.Sys().(*syscall.Stat_t)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if have := info.Sys().(*syscall.Stat_t); have.Uid != want.Uid || have.Gid != want.Gid {
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return refuse(&RefusedError{Reason: Owner, Detail: "the owner can't be kept", Err: err})
		}
	}
	// The owner first: chown takes away special bits. The mode after the attributes:
	// a POSIX ACL brings group bits of its own.
	if err := copyAttributes(f, path); err != nil {
		return err
	}
	return f.Chmod(like.info.Mode())
}

func giveToParentOwner(path string, chown func(uid, gid int) error) error {
	uid, gid, other := files.OtherOwner(filepath.Dir(path))
	if !other {
		return nil
	}
	return chown(uid, gid)
}

// MakeDir makes dir and what is missing above it, with the mode that docker gives its
// configuration directory. What root makes goes to the owner of where it is made.
func MakeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return giveToParentOwner(dir, func(uid, gid int) error { return os.Lchown(dir, uid, gid) })
}

// openOwn opens a file of our own at path, or makes it.
func openOwn(path string) (*os.File, error) {
	// No link is followed: root must not write where a user's link points, nor give away
	// what has another name elsewhere.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || linkCount(path, info) > 1) {
		err = &os.PathError{Op: "lock", Path: path, Err: errors.New("not a file of docker-rd's own")}
	}
	if err == nil {
		// What root leaves when it is killed, the user must be able to tidy up.
		err = giveToParentOwner(path, f.Chown)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
