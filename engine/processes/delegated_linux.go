package processes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker-rd/docker-rd/internal/process"
)

// A user's engine can have its groups in a group that is delegated to the user: that is then the
// root of the hierarchy for it.

// Delegated returns the hierarchy that is delegated to the engine, found by its daemon. It is zero if
// there is none.
func (e Engine) Delegated(daemon int) Hierarchies {
	h, err := FindHierarchies()
	if err != nil {
		return Hierarchies{}
	}
	path, err := process.Group(daemon, "")
	if err != nil || h.V2 == "" {
		return Hierarchies{}
	}
	scope, _, ok := strings.Cut(path, "/"+e.GroupName()+"/"+DaemonGroup)
	if !ok {
		return Hierarchies{}
	}
	return Hierarchies{V2: filepath.Join(h.V2, scope)}
}

// InScope reports whether a process is in the group of a scope.
func InScope(pid int, scope string) bool {
	path, err := process.Group(pid, "")
	return err == nil && filepath.Base(path) == scope
}

// Delegate makes the engine's group in the group of a process, which is delegated to the user, and
// moves the process there. It returns the group, which can have all controllers of the other.
func (e Engine) Delegate(pid int) (group string, err error) {
	h, err := FindHierarchies()
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	path, err := process.Group(pid, "")
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	scope := filepath.Join(h.V2, path)
	group = filepath.Join(scope, e.GroupName())
	if err := os.Mkdir(group, 0o755); err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	if err := Join(group, pid); err != nil {
		return "", err
	}
	return group, enableAll(scope)
}

// enableAll has the subgroups of a group have all its controllers.
func enableAll(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	var errs []error
	for _, controller := range strings.Fields(string(data)) {
		errs = append(errs, writeControl(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller))
	}
	return errors.Join(append(errs, err)...)
}
