package process

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Group returns the path of a process's control group in a hierarchy: "" for version 2, others
// have names such as "name=systemd" (cgroups(7), /proc/PID/cgroup). Pid 0 is this process. If there is
// no such hierarchy the error matches [fs.ErrNotExist].
func Group(pid int, hierarchy string) (string, error) {
	path := "/proc/self/cgroup"
	if pid != 0 {
		path = fmt.Sprintf("/proc/%d/cgroup", pid)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 && fields[1] == hierarchy {
			return fields[2], nil
		}
	}
	return "", fmt.Errorf("%s: hierarchy %q: %w", path, hierarchy, fs.ErrNotExist)
}
