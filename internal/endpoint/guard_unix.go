//go:build !windows

package endpoint

import (
	_ "embed"
	"os/exec"
	"strings"
)

// guardScript runs ssh with sshFlags, and likewise those that it starts in turn.
//
//go:embed guard.sh
var guardScript string

// guarded returns the command that runs ssh, the program, with sshFlags and args. It
// is that very process in the end, replaced in place.
func guarded(program string, args []string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardScript, program}, args...)...)
	cmd.Env = append(cmd.Environ(),
		"DOCKER_RD_SSH_FLAGS="+strings.Join(sshFlags, " "),
		"DOCKER_RD_SSH_GUARD="+guardScript)
	return cmd
}
