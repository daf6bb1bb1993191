//go:build unix

package client

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// detach makes the process survive this one's terminal and session.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// Supervise makes this very process the instance's supervisor, for a process manager: it logs
// to standard error, and stops the instance when it is told to end (SIGTERM, SIGINT). It
// returns only where that fails.
func Supervise(i *instance.Instance) error {
	exe, err := os.Executable()
	if err == nil {
		err = os.Chdir(filepath.Dir(i.Paths.State))
	}
	if err == nil {
		err = syscall.Exec(exe, []string{exe, wire.Verb, i.Paths.State, wire.Foreground}, environment(os.Environ(), i.DockerConfig))
	}
	return fmt.Errorf("start supervisor: %w", err)
}
