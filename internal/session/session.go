// Package session finds what belongs to the user and to the login session of the user.
package session

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// RuntimeDirs is where systemd keeps the runtime directories of users, one for each user id. It
// removes a directory when the user's last session ends.
const RuntimeDirs = "/run/user"

// RuntimeDir returns the user's runtime directory: $XDG_RUNTIME_DIR or, where a program such as
// su or cron has left that out, systemd's directory of the user, if it is there and nobody
// else's. It returns "" where there is none.
func RuntimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return dir
	}
	dir := filepath.Join(RuntimeDirs, strconv.Itoa(os.Geteuid()))
	if !private(dir) {
		return ""
	}
	return dir
}

// Username returns the name of this process's user, as programs such as loginctl take it: a number if
// there is no name.
func Username() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}
