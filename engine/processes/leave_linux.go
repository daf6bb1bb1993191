package processes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Leave moves this process into control groups of that name, in the hierarchy of version 2 and
// in systemd's: otherwise it would end with the session, service or job that started it. A
// process in the root group stays. Back moves the process to the root groups and removes the
// others.
func Leave(name string) (back func(), err error) {
	back = func() {}
	h, err := FindHierarchies()
	if err != nil {
		return back, fmt.Errorf("cgroups: %w", err)
	}
	now, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return back, fmt.Errorf("cgroups: %w", err)
	}
	var joined []string
	var errs []error
	for hierarchy, root := range map[string]string{"": h.V2, "name=systemd": h.Systemd} {
		if root == "" || !inGroup(string(now), hierarchy) {
			continue
		}
		dir := filepath.Join(root, name)
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = Join(dir, 0)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		joined = append(joined, dir)
	}
	return func() {
		for _, dir := range joined {
			if Join(filepath.Dir(dir), 0) == nil {
				_ = os.Remove(dir)
			}
		}
	}, errors.Join(errs...)
}

// inGroup reports whether a /proc/PID/cgroup tells of a group other than the root in a
// hierarchy, which is named as it is there.
func inGroup(file, hierarchy string) bool {
	for line := range strings.Lines(file) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && fields[1] == hierarchy {
			return fields[2] != "/"
		}
	}
	return false
}
