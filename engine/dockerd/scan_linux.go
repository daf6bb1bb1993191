package dockerd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker-rd/docker-rd/internal/process"
)

// markerEnv is in the environment of every process of an engine, with its uid as the
// value: dockerd gets it and passes it on to containerd, shims and proxies, but not
// to containers. Unlike a namespace's inode number it is never reused.
const markerEnv = "DOCKER_RD_ENGINE"

// A proc is a running process.
type proc struct {
	id     process.ID
	comm   string
	ppid   int
	engine string // the uid of the engine that it belongs to by its marker; "" if none
	marked bool   // that is the engine which is looked for
	mntns  string // "" where it can't be read
}

// processes returns all running processes, kernel threads left out, and marks those of
// the engine uid.
func processes(uid string) ([]proc, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	var all []proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self.PID {
			continue
		}
		stat, err := process.ReadStat(pid)
		const kthreadd = 2
		if err != nil || stat.Ended() || pid == kthreadd || stat.PPID == kthreadd {
			continue
		}
		p := proc{comm: stat.Comm, ppid: stat.PPID,
			id: process.ID{PID: pid, StartTime: stat.StartTime, BootID: self.BootID}}
		p.mntns, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil {
			p.engine = envValue(env, markerEnv)
			p.marked = p.engine != "" && p.engine == uid
		}
		all = append(all, p)
	}
	return all, nil
}

// envValue returns the value of a variable in an environment block, "" if it is not there.
func envValue(env []byte, name string) string {
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if key, value, ok := bytes.Cut(entry, []byte("=")); ok && string(key) == name {
			return string(value)
		}
	}
	return ""
}

// neverRan tells whether there was never an engine: it would have left its state, its data
// or its runtime directory, unless somebody removed them. That saves the first start a look at every process
// of the machine.
func (c *Config) neverRan() bool {
	if exists(c.StateDir) || exists(c.ExecRoot) {
		return false
	}
	data, err := os.ReadDir(c.DataRoot)
	return len(data) == 0 && (err == nil || errors.Is(err, os.ErrNotExist))
}

// found is what runs of an engine.
type found struct {
	procs  []proc   // everything: its own processes first, then those of its containers
	shims  []proc   // the containers' parents
	daemon *proc    // dockerd, or the helper that becomes it
	groups []string // containers' cgroup directories that are not below the engine's own

	// squatter is a dockerd that has the engine's data or runtime directory although it is
	// another engine's: of an instance whose files were removed by hand, or one under
	// another home.
	squatter *proc
}

const (
	commDockerd = "dockerd"
	// commShim begins the names of containerd's shims: containerd-shim, and
	// containerd-shim-runc-v2, cut by the kernel.
	commShim = "containerd-shim"
)

// scan finds every process of the engine: those with its marker, those in their mount
// namespace, all descendants of those, and whatever is in its cgroups and in the known
// ones of its containers.
func (c *Config) scan(h hierarchies, known ...string) (*found, error) {
	all, err := processes(c.UID)
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	byPID := make(map[int]*proc, len(all))
	children := map[int][]*proc{}
	private := map[string]bool{}
	host := map[string]bool{"": true}
	for _, path := range []string{"/proc/self/ns/mnt", "/proc/1/ns/mnt"} {
		ns, _ := os.Readlink(path)
		host[ns] = true
	}
	for i := range all {
		p := &all[i]
		byPID[p.id.PID] = p
		children[p.ppid] = append(children[p.ppid], p)
		if p.marked && !host[p.mntns] {
			private[p.mntns] = true
		}
	}
	f := &found{}
	seen := map[int]bool{}
	add := func(p *proc) {
		if seen[p.id.PID] {
			return
		}
		seen[p.id.PID] = true
		f.procs = append(f.procs, *p)
		if p.marked && strings.HasPrefix(p.comm, commShim) {
			f.shims = append(f.shims, *p)
			f.groups = append(f.groups, c.containerGroups(h, p, children)...)
		}
	}
	for i := range all {
		p := &all[i]
		if p.comm == commDockerd && p.engine != "" && !p.marked &&
			(argument(p.id.PID, "--data-root") == c.DataRoot || argument(p.id.PID, "--exec-root") == c.ExecRoot) {
			f.squatter = p
		}
		if p.marked || private[p.mntns] {
			add(p)
			// Not a child of dockerd that is just becoming another program.
			if parent := byPID[p.ppid]; p.marked && p.comm == commDockerd && (parent == nil || !parent.marked) {
				f.daemon = p
			}
		}
	}
	for i := 0; i < len(f.procs); i++ { // grows while it runs
		for _, child := range children[f.procs[i].id.PID] {
			add(child)
		}
	}
	for _, dir := range slices.Concat(c.groups(h), f.groups, known) {
		for _, pid := range members(dir) {
			if p := byPID[pid]; p != nil {
				add(p)
			} else if id, err := process.Find(pid); err == nil && pid != os.Getpid() {
				add(&proc{id: id})
			}
		}
	}
	return f, nil
}

// containerGroups returns the cgroups of a shim's container where these are not below
// the engine's own group, as with docker run --cgroup-parent. Only a group that has the
// container's id in its name is the container's: a privileged process may have
// moved itself to any other.
func (c *Config) containerGroups(h hierarchies, shim *proc, children map[int][]*proc) []string {
	id := shimContainer(shim.id.PID)
	if id == "" {
		return nil
	}
	var dirs []string
	for _, child := range children[shim.id.PID] {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", child.id.PID))
		if err != nil {
			continue
		}
		for _, rel := range cgroupPaths(string(data), id) {
			if strings.HasPrefix(rel, "/"+c.cgroupName()+"/") || strings.HasPrefix(rel, "/"+c.cgroupSlice()+"/") {
				continue
			}
			for _, root := range h.all() {
				if dir := filepath.Join(root, rel); exists(dir) && !slices.Contains(dirs, dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

// shimContainer returns the id of the container a shim was started for.
func shimContainer(pid int) string {
	if id := argument(pid, "-id"); len(id) == 64 {
		return id
	}
	return ""
}

// argument returns what follows a name among a process's arguments, "" if it is not there.
func argument(pid int, name string) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	args := strings.Split(string(data), "\x00")
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// cgroupPaths returns the paths in a /proc/PID/cgroup up to the element that has id in
// its name (cgroupfs: the id; systemd: docker-ID.scope).
func cgroupPaths(file, id string) []string {
	var paths []string
	for line := range strings.Lines(file) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		elements := strings.Split(fields[2], "/")
		i := slices.IndexFunc(elements, func(e string) bool { return strings.Contains(e, id) })
		if i < 0 {
			continue
		}
		if path := strings.Join(elements[:i+1], "/"); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// othersRun tells whether any engine's process runs on the machine.
func othersRun() (bool, error) {
	all, err := processes("")
	if err != nil {
		return true, err
	}
	return slices.ContainsFunc(all, func(p proc) bool { return p.engine != "" }), nil
}
