package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker-rd/docker-rd/internal/process"
)

// shShells are the programs of shells that take sh's syntax.
var shShells = []string{"bash", "busybox", "dash", "ksh", "ksh93", "mksh", "yash", "zsh"}

// runBySh reports whether such a shell runs this program, perhaps through docker.
func runBySh() bool {
	for pid := os.Getppid(); ; {
		s, err := process.ReadStat(pid)
		if err != nil {
			return false
		}
		if !strings.HasPrefix(s.Comm, "docker") {
			program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) // the name is a script's
			return err == nil && slices.Contains(shShells, filepath.Base(program))
		}
		pid = s.PPID
	}
}
