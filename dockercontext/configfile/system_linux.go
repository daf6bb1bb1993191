package configfile

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// isImmutable reports whether not even root can replace path, see chattr(1).
func isImmutable(path string) bool {
	var st unix.Statx_t
	const fixed = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st)
	return err == nil && st.Attributes&fixed != 0
}

// takeLease takes a write lease on f, which nobody else may have open: until it ends
// whoever opens the file waits. Without CAP_LEASE the file must be ours. See fcntl(2).
//
// The kernel announces a waiting opener with SIGIO, which the Go runtime ignores. It
// waits no longer than /proc/sys/fs/lease-break-time, 45 s by default.
func takeLease(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	return err
}

func endLease(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// beingWritten reports whether somebody has f, opened for reading only, open for writing.
// A read lease is refused then; where leases can't be had at all, the answer is no.
func beingWritten(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_ = endLease(f)
	}
	return errors.Is(err, unix.EAGAIN)
}

const aclAttribute = "system.posix_acl_access"

// dropInherited takes from a new file what the default ACL of its directory gave it.
func dropInherited(f *os.File) error {
	err := unix.Fremovexattr(int(f.Fd()), aclAttribute)
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	return ignoreUnsupported(err)
}

// keptAttribute reports whether an extended attribute goes over to the new file, and
// whether a failure to do so matters.
func keptAttribute(name string) (keep, must bool) {
	switch {
	case name == aclAttribute, strings.HasPrefix(name, "user."):
		return true, true
	case name == "security.selinux":
		return true, false // the policy mostly gives the same one by itself
	}
	return false, false // checksums and capabilities are of the old bytes
}
