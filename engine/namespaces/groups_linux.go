package namespaces

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker-rd/docker-rd/engine/processes"
)

// leaveRoot moves this process from the root of the cgroups into a subgroup: in version 2 only
// groups without subgroups may have processes.
func leaveRoot(root string) error {
	dir := filepath.Join(root, processes.DaemonGroup)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return processes.Join(dir, 0)
}
