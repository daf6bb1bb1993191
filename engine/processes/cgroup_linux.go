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
)

// Each engine has a cgroup of its own, below the root of each hierarchy: the daemon and
// its helpers in one group below it, each container in one beside that. It takes the
// engine out of the session or service that the user started it from, and it is how
// all of it can be ended at once.

// Hierarchies are the cgroup hierarchies that are mounted: one for version 2; one for
// each controller for version 1; both on hybrid systems.
type Hierarchies struct {
	V2      string   // mount point, "" if there is none
	V1      []string // mount points
	Systemd string   // the one of V1 by which systemd keeps its units apart, "" if there is none
	freezer string   // the one of V1's freezer, "" if there is none
}

// FindHierarchies finds the cgroup mounts of the process's mount namespace.
func FindHierarchies() (Hierarchies, error) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return Hierarchies{}, err
	}
	return hierarchiesOf(infos), nil
}

func hierarchiesOf(infos []*mountinfo.Info) Hierarchies {
	var h Hierarchies
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
		switch options := strings.Split(info.VFSOptions, ","); {
		case slices.Contains(options, "freezer"):
			h.freezer = info.Mountpoint
		case slices.Contains(options, "name=systemd"):
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

// Parent returns what containers are put below, which differs under the systemd driver:
// systemd only knows slices.
func (e Engine) Parent(systemd bool) string {
	if systemd {
		return e.cgroupSlice()
	}
	return "/" + e.GroupName()
}

// DaemonGroup is the group of the daemon itself. In version 2 only groups without
// subgroups may hold processes, so it is one below the engine's.
const DaemonGroup = "engine"

// MakeGroups makes the engine's group in each hierarchy it is to be in and returns
// the directories: the one of version 2, "" if there is none, and the others.
func (e Engine) MakeGroups(h Hierarchies) (v2 string, v1 []string, err error) {
	mkdir := func(root string) (string, error) {
		dir := filepath.Join(root, e.GroupName(), DaemonGroup)
		err := os.MkdirAll(dir, 0o755)
		return dir, err
	}
	if h.V2 != "" {
		if v2, err = mkdir(h.V2); err != nil {
			return "", nil, fmt.Errorf("cgroup: %w", err)
		}
	}
	for _, root := range h.V1 {
		dir, err := mkdir(root)
		if err != nil {
			return "", nil, fmt.Errorf("cgroup: %w", err)
		}
		// A new group of cpuset takes no process until it has got processors; runc does
		// that for containers, and the daemon itself needs no limit there.
		if data, err := os.ReadFile(filepath.Join(dir, "cpuset.cpus")); err == nil && strings.TrimSpace(string(data)) == "" {
			continue
		}
		v1 = append(v1, dir)
	}
	return v2, v1, nil
}

// Join moves a process, 0 for the caller, into the group dir.
func Join(dir string, pid int) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), strconv.AppendInt(nil, int64(pid), 10), 0); err != nil {
		return fmt.Errorf("join cgroup: %w", err)
	}
	return nil
}

// Groups returns the engine's directories in all hierarchies, those that exist.
func (e Engine) Groups(h Hierarchies) []string {
	var dirs []string
	for _, root := range h.All() {
		for _, name := range []string{e.GroupName(), e.cgroupSlice()} {
			if dir := filepath.Join(root, name); exists(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
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

// killGroup ends every process in dir and below it at once: none can fork away.
func killGroup(h Hierarchies, dir string) {
	// Version 2, since Linux 5.14.
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	freeze := h.freezer != "" && strings.HasPrefix(dir, h.freezer+"/")
	if freeze {
		freezeGroup(dir, "FROZEN")
	}
	for _, pid := range Members(dir) {
		_ = unix.Kill(pid, unix.SIGKILL) // it can't end and leave its pid to another: it is frozen
	}
	if freeze {
		// Paused containers are frozen by themselves, and version 1 ends nothing frozen. From
		// the top down: below a frozen group nothing thaws.
		for _, group := range slices.Backward(subgroups(dir)) {
			freezeGroup(group, "THAWED")
		}
	}
}

// freezeGroup freezes or thaws a group of version 1 and waits, not for long, until it
// is so: a process in an uninterruptible sleep can't be frozen, nor can it fork.
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

// RemoveGroup removes dir and all groups below it, which is possible a little later
// than their last process has ended.
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
