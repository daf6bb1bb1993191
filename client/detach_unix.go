//go:build unix

package client

import (
	"os/exec"
	"syscall"
)

// detach makes the process survive this one's terminal and session.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
