//go:build unix

package lima

import "syscall"

var detached = &syscall.SysProcAttr{Setpgid: true}
