//go:build unix

package instance

import (
	"os"
	"path/filepath"
	"syscall"
)

func isRoot() bool { return os.Geteuid() == 0 }

// foreign reports whether a directory, or where it would be made, belongs to a user although
// this is root: sudo may keep the user's environment.
func foreign(dir string) bool {
	if !isRoot() {
		return false
	}
	info, err := os.Stat(dir)
	for ; err != nil && dir != filepath.Dir(dir); info, err = os.Stat(dir) {
		dir = filepath.Dir(dir)
	}
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0
}
