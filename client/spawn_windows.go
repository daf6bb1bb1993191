package client

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// detach makes the process survive this one's console.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP,
	}
}

// Supervise refuses: a process can't become another here.
func Supervise(i *instance.Instance) error {
	return failure.Refuse("instance %q: the supervisor can't run in the foreground on Windows", i.Name)
}
