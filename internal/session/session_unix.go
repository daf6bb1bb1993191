//go:build unix

package session

import (
	"os"
	"syscall"
)

// private reports whether path is a directory of the user's that nobody else can enter.
func private(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
