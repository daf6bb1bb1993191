//go:build unix

package files

import (
	"os"
	"path/filepath"
	"syscall"
)

// OtherOwner returns the owner of a directory, or of where it would be made, if that is another user
// than root and this is root: sudo may keep the user's environment.
func OtherOwner(dir string) (uid, gid int, other bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	info, err := os.Stat(dir)
	for ; err != nil && dir != filepath.Dir(dir); info, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return 0, 0, false
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid), st.Uid != 0
}

// IsOthers reports whether what is at path, itself if it is a link, belongs to another user.
func IsOthers(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid()
}
