package processes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
)

// A file of a control group, and what is to be in it.
type setting struct{ file, value string }

// A limit is one of an engine's limits as the control groups take it.
type limit struct {
	controller string
	on         bool
	group      string    // where it is set
	v1, v2     []setting // for each version
}

const cpuPeriod = 100_000 // microseconds, as docker has it

func (e Engine) limits(l Limits, together bool) []limit {
	number := func(n int64, none string) string {
		if n == 0 {
			return none
		}
		return strconv.FormatInt(n, 10)
	}
	quota := l.NanoCPUs / (1e9 / cpuPeriod)
	period := strconv.Itoa(cpuPeriod)
	containers := filepath.Join(e.GroupName(), ContainerGroup)
	// Not the daemon's memory: while the kernel ends a container it may find that the daemon
	// needs a page more, and end that too.
	memory := containers
	if together {
		memory = e.GroupName()
	}
	return []limit{
		{"memory", l.Memory != 0, memory,
			[]setting{{"memory.limit_in_bytes", number(l.Memory, "-1")}},
			[]setting{{"memory.max", number(l.Memory, "max")}}},
		{"cpu", l.NanoCPUs != 0, e.GroupName(),
			[]setting{{"cpu.cfs_period_us", period}, {"cpu.cfs_quota_us", number(quota, "-1")}},
			[]setting{{"cpu.max", number(quota, "max") + " " + period}}},
		{"pids", l.Pids != 0, containers,
			[]setting{{"pids.max", number(l.Pids, "max")}},
			[]setting{{"pids.max", number(l.Pids, "max")}}},
	}
}

// SetLimits limits the engine's control groups, which it makes where they are needed and
// missing. Together limits the daemon's memory with its containers', which is for a daemon
// that has no [ContainerGroup]. It returns a [*LimitError] for the first limit that can't be set.
func (e Engine) SetLimits(h Hierarchies, l Limits, together bool) error {
	for _, limit := range e.limits(l, together) {
		root, v2, err := h.controller(limit.controller)
		if err == nil {
			if err = limit.set(root, v2); err != nil {
				err = &LimitError{limit.controller, err}
			}
		}
		if err != nil && limit.on {
			return err
		}
	}
	return nil
}

func (l limit) set(root string, v2 bool) error {
	dir := filepath.Join(root, l.group)
	settings := l.v1
	if v2 {
		settings = l.v2
	}
	if !l.on && !files.Exists(filepath.Join(dir, settings[0].file)) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if v2 {
		if err := enable(root, dir, l.controller); err != nil {
			return err
		}
	}
	for _, s := range settings {
		if err := writeControl(filepath.Join(dir, s.file), s.value); err != nil {
			return err
		}
	}
	return nil
}

// enable has a group of version 2 have a controller.
func enable(root, dir, controller string) error {
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return err
	}
	parent := root
	for _, name := range strings.Split(rel, "/") {
		file := filepath.Join(parent, "cgroup.subtree_control")
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(string(data)), controller) {
			if err := writeControl(file, "+"+controller); err != nil {
				return err
			}
		}
		parent = filepath.Join(parent, name)
	}
	return nil
}

// writeControl writes to a file of a control group, which must be there.
func writeControl(path, value string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	return errors.Join(err, file.Close())
}

// Controllers returns the controllers that the limits need.
func (l Limits) Controllers() (names []string) {
	for _, limit := range (Engine{}).limits(l, false) {
		if limit.on {
			names = append(names, limit.controller)
		}
	}
	return names
}

// Lacks returns a [*LimitError] if there is no such controller.
func (h Hierarchies) Lacks(controller string) error {
	_, _, err := h.controller(controller)
	return err
}

// controller returns the root of the hierarchy that has a controller, and whether that is of
// version 2.
func (h Hierarchies) controller(name string) (root string, v2 bool, err error) {
	if root := h.controllers[name]; root != "" {
		return root, false, nil
	}
	if h.V2 != "" {
		data, err := os.ReadFile(filepath.Join(h.V2, "cgroup.controllers"))
		if err != nil {
			return "", false, &LimitError{name, err}
		}
		if slices.Contains(strings.Fields(string(data)), name) {
			return h.V2, true, nil
		}
	}
	return "", false, &LimitError{name, fmt.Errorf("the system has no such controller: %w", errors.ErrUnsupported)}
}
