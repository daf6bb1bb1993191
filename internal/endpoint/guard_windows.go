package endpoint

import (
	"os/exec"
	"slices"
)

// guarded returns the command that runs ssh, the program, with sshFlags and args. What
// ssh starts for a ProxyJump has the user's own options: ssh on Windows knows no master
// connections, but may add a jump host's key where the user's configuration says so.
func guarded(program string, args []string) *exec.Cmd {
	return exec.Command(program, slices.Concat(sshFlags, args)...)
}
