package processes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker-rd/docker-rd/internal/process"
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
	var joined []string
	var errs []error
	for hierarchy, root := range map[string]string{"": h.V2, "name=systemd": h.Systemd} {
		if root == "" {
			continue
		}
		group, err := process.Group(0, hierarchy)
		if errors.Is(err, fs.ErrNotExist) || group == "/" {
			continue
		}
		dir := filepath.Join(root, name)
		if err == nil {
			err = os.MkdirAll(dir, 0o755)
		}
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
