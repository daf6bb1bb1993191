package processes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/files"
)

// Each engine has a cgroup below the root of each hierarchy, with a subgroup for the daemon and
// its helpers and one that has a group for each container. So the engine does not belong to the session or
// service that started it, and all of it can be killed at once.

// Hierarchies are the mounted cgroup hierarchies: one of version 2, or one for each controller
// of version 1; both on hybrid systems.
type Hierarchies struct {
	V2      string   // mount point, "" if there is none
	V1      []string // mount points
	Systemd string   // systemd's own of V1, or ""

	controllers map[string]string // mount points of V1 by controller
}

// limiting are the controllers of version 1 that are used here.
var limiting = []string{"freezer", "memory", "cpu", "pids"}

// FindHierarchies finds the cgroup mounts of the process's mount namespace.
func FindHierarchies() (Hierarchies, error) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return Hierarchies{}, err
	}
	return hierarchiesOf(infos), nil
}

func hierarchiesOf(infos []*mountinfo.Info) Hierarchies {
	h := Hierarchies{}
	type device struct{ major, minor int }
	seen := map[device]bool{} // a hierarchy may be mounted more than once
	for _, info := range infos {
		dev := device{info.Major, info.Minor}
		if seen[dev] {
			continue
		}
		seen[dev] = true
		if info.FSType == "cgroup2" {
			h.V2 = info.Mountpoint
			continue
		}
		h.V1 = append(h.V1, info.Mountpoint)
		options := strings.Split(info.VFSOptions, ",")
		for _, name := range limiting {
			if slices.Contains(options, name) {
				if h.controllers == nil {
					h.controllers = map[string]string{}
				}
				h.controllers[name] = info.Mountpoint
			}
		}
		if slices.Contains(options, "name=systemd") {
			h.Systemd = info.Mountpoint
		}
	}
	return h
}

// All returns the mount points of all hierarchies.
func (h Hierarchies) All() []string {
	if h.V2 == "" {
		return h.V1
	}
	return append([]string{h.V2}, h.V1...)
}

// GroupName is the name of the engine's group.
func (e Engine) GroupName() string { return "docker-rd-" + e.UID }

func (e Engine) cgroupSlice() string {
	// A '-' in a slice's name would make one below another.
	return "docker_rd_" + strings.ReplaceAll(e.UID, "-", "_") + ".slice"
}

// Parent returns the parent of containers' groups. The systemd driver needs a slice.
func (e Engine) Parent(systemd bool) string {
	if systemd {
		return e.cgroupSlice()
	}
	return "/" + e.GroupName() + "/" + ContainerGroup
}

// ContainerGroup is the group of the containers, each in a group of its own below it.
const ContainerGroup = "containers"

// DaemonGroup is the daemon's group, below the engine's: in version 2 only groups without
// subgroups may have processes.
const DaemonGroup = "engine"

// MakeGroups makes the engine's group in each hierarchy and returns the directories of the daemon's
// below them, that of version 2 first.
func (e Engine) MakeGroups(h Hierarchies) (daemon []string, err error) {
	for _, root := range h.All() {
		dir := filepath.Join(root, e.GroupName())
		for _, group := range []string{dir, filepath.Join(dir, DaemonGroup)} {
			if err := os.MkdirAll(group, 0o755); err != nil {
				return nil, fmt.Errorf("cgroup: %w", err)
			}
			if root == h.V2 {
				continue
			}
			if err := inheritCPUs(group); err != nil {
				return nil, fmt.Errorf("cgroup: %w", err)
			}
		}
		daemon = append(daemon, filepath.Join(dir, DaemonGroup))
	}
	return daemon, nil
}

// inheritCPUs gives a new group of version 1's cpuset the processors of the one above: it takes
// no process until it has some.
func inheritCPUs(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.TrimSpace(string(data)) != "" {
			continue // another hierarchy, or it has them
		}
		if data, err = os.ReadFile(filepath.Join(filepath.Dir(dir), name)); err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Join moves a process, 0 for the caller, into the group dir.
func Join(dir string, pid int) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), strconv.AppendInt(nil, int64(pid), 10), 0); err != nil {
		return fmt.Errorf("join cgroup: %w", err)
	}
	return nil
}

// Groups returns the engine's existing directories in all hierarchies.
func (e Engine) Groups(h Hierarchies) []string {
	var dirs []string
	for _, root := range h.All() {
		for _, name := range []string{e.GroupName(), e.cgroupSlice()} {
			if dir := filepath.Join(root, name); files.Exists(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// subgroups returns dir and all groups below it, deepest first.
func subgroups(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	return dirs
}

// Members returns the processes in dir and all groups below it.
func Members(dir string) []int {
	var pids []int
	for _, group := range subgroups(dir) {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(data)) {
			// 0 is a process of another pid namespace.
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killGroup kills every process in dir and below it. None can escape by forking.
func killGroup(h Hierarchies, dir string) {
	// Version 2, since Linux 5.14.
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	freezer := h.controllers["freezer"]
	freeze := freezer != "" && strings.HasPrefix(dir, freezer+"/")
	if freeze {
		freezeGroup(dir, "FROZEN")
	}
	for _, pid := range Members(dir) {
		_ = unix.Kill(pid, unix.SIGKILL) // it is frozen, so its pid can't be reused
	}
	if freeze {
		// Version 1 does not end frozen processes, such as those of paused containers. From the
		// top down: below a frozen group nothing thaws.
		for _, group := range slices.Backward(subgroups(dir)) {
			freezeGroup(group, "THAWED")
		}
	}
}

// freezeGroup freezes or thaws a group of version 1 and waits for that, but not for long: a
// process in uninterruptible sleep can't be frozen, nor can it fork.
func freezeGroup(dir, state string) {
	path := filepath.Join(dir, "freezer.state")
	for range 20 {
		if os.WriteFile(path, []byte(state), 0) != nil {
			return
		}
		if data, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(data)) == state {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// RemoveGroup removes dir and all groups below it. That is possible only shortly after their
// last process has ended.
func RemoveGroup(dir string) error {
	var last error
	for range 100 {
		last = nil
		for _, group := range subgroups(dir) {
			if err := unix.Rmdir(group); err != nil && !errors.Is(err, unix.ENOENT) {
				last = &os.PathError{Op: "rmdir", Path: group, Err: err}
			}
		}
		if last == nil || !errors.Is(last, unix.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return last
}
