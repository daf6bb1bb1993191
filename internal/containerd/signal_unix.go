//go:build unix

package containerd

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const sigkill = int(unix.SIGKILL)

// signalOf returns the signal of a name, with or without SIG, or of a number.
func signalOf(name string) int {
	if n, err := strconv.Atoi(name); err == nil && n > 0 {
		return n
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG")); s != 0 {
		return int(s)
	}
	return int(unix.SIGTERM)
}
