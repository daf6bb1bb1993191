package processes

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
)

// An Engine identifies an engine's processes.
type Engine struct {
	UID    string // the value of [MarkerEnv]
	Daemon string // the command name of its daemon, cut to 15 bytes by the kernel
}

// MarkerEnv has the engine's uid in the environment of its processes: the daemon passes it on to
// containerd, shims and proxies, but not to containers. Unlike a namespace's inode number it is
// never reused.
const MarkerEnv = "DOCKER_RD_ENGINE"

// A Proc is a running process.
type Proc struct {
	ID     process.ID
	Comm   string // the command's name, cut to 15 bytes by the kernel
	PPID   int
	Engine string // the uid of the engine that it belongs to by its marker; "" if none
	Marked bool   // that is the engine which is looked for
	mntns  string // "" where it can't be read
	claim  string // its marker, which any user can give to a process of theirs
}

// All returns all running processes except kernel threads, and marks those of the engine uid.
func All(uid string) ([]Proc, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	var all []Proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self.PID {
			continue
		}
		stat, err := process.ReadStat(pid)
		if err != nil || stat.Ended() || stat.Kernel {
			continue
		}
		p := Proc{Comm: stat.Comm, PPID: stat.PPID,
			ID: process.ID{PID: pid, StartTime: stat.StartTime, BootID: self.BootID}}
		p.mntns, _ = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil {
			p.claim = envValue(env, MarkerEnv)
		}
		if p.claim != "" && runsAs(pid, os.Geteuid()) {
			p.Engine = p.claim
			p.Marked = p.Engine == uid
		}
		all = append(all, p)
	}
	return all, nil
}

// runsAs reports whether all user ids of a process are uid. The owner of /proc/PID does not say
// that: it is root for undumpable processes and set-user-id programs.
func runsAs(pid, uid int) bool {
	ids := process.StatusField(pid, "Uid")
	want := strconv.Itoa(uid)
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id string) bool { return id != want })
}

// envValue returns the value of a variable in an environment block, or "".
func envValue(env []byte, name string) string {
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if key, value, ok := bytes.Cut(entry, []byte("=")); ok && string(key) == name {
			return string(value)
		}
	}
	return ""
}

// Found is what runs of an engine.
type Found struct {
	Procs  []Proc   // all of them: its own first, then those of its containers
	Shims  []Proc   // the containers' parents
	Daemon *Proc    // the daemon, or the helper that becomes it
	Groups []string // containers' cgroup directories that are not below the engine's own
	Others []Proc   // other engines' own processes
}

// commShim begins the names of containerd's shims: containerd-shim, and
// containerd-shim-runc-v2, cut by the kernel.
const commShim = "containerd-shim"

// Scan finds every process of the engine: those with its marker, those in their mount
// namespace, all their descendants, and those in its cgroups and in known cgroups of its
// containers.
func (e Engine) Scan(h Hierarchies, known ...string) (*Found, error) {
	all, err := All(e.UID)
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	byPID := make(map[int]*Proc, len(all))
	children := map[int][]*Proc{}
	for i := range all {
		p := &all[i]
		byPID[p.ID.PID] = p
		children[p.PPID] = append(children[p.PPID], p)
	}
	private := privateNamespaces(all)
	f := &Found{}
	seen := map[int]bool{}
	add := func(p *Proc) {
		if seen[p.ID.PID] {
			return
		}
		seen[p.ID.PID] = true
		f.Procs = append(f.Procs, *p)
		if p.Marked && strings.HasPrefix(p.Comm, commShim) {
			f.Shims = append(f.Shims, *p)
			f.Groups = append(f.Groups, e.containerGroups(h, p, children)...)
		}
	}
	for i := range all {
		p := &all[i]
		if p.Engine != "" && !p.Marked {
			f.Others = append(f.Others, *p)
		}
		if p.Marked || private[p.mntns] {
			add(p)
			// Not a child that the daemon has just forked.
			if parent := byPID[p.PPID]; p.Marked && p.Comm == e.Daemon && (parent == nil || !parent.Marked) {
				f.Daemon = p
			}
		}
	}
	for i := 0; i < len(f.Procs); i++ { // grows while it runs
		for _, child := range children[f.Procs[i].ID.PID] {
			add(child)
		}
	}
	for _, dir := range slices.Concat(e.Groups(h), f.Groups, known) {
		for _, pid := range Members(dir) {
			if p := byPID[pid]; p != nil {
				add(p)
			} else if id, err := process.Find(pid); err == nil && pid != os.Getpid() {
				add(&Proc{ID: id})
			}
		}
	}
	return f, nil
}

// privateNamespaces returns the engines' mount namespaces that marked processes are in, except this
// process's. Companions are in that of whoever started them, which may be a terminal's own.
func privateNamespaces(all []Proc) map[string]bool {
	self, _ := os.Readlink("/proc/self/ns/mnt")
	private := map[string]bool{"": false, self: false}
	for _, p := range all {
		if _, known := private[p.mntns]; p.Marked && !known {
			private[p.mntns] = hasRun(p.ID.PID)
		}
	}
	return private
}

// RunSource is the source, in lists of mounts, of the file system that an engine has at /run.
const RunSource = "docker-rd-run"

// hasRun reports whether a process is in an engine's mount namespace.
func hasRun(pid int) bool {
	file, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return false
	}
	defer file.Close()
	found, err := mountinfo.GetMountsFromReader(file, func(i *mountinfo.Info) (skip, stop bool) {
		own := i.Source == RunSource && i.Mountpoint == "/run"
		return !own, own
	})
	return err == nil && len(found) > 0
}

// containerGroups returns the cgroups of a shim's container that are not below the engine's own
// group, as with docker run --cgroup-parent. Only a group with the container's id in its name
// counts: a privileged process may have moved to any other.
func (e Engine) containerGroups(h Hierarchies, shim *Proc, children map[int][]*Proc) []string {
	id := ShimContainer(shim.ID.PID)
	if id == "" {
		return nil
	}
	var dirs []string
	for _, child := range children[shim.ID.PID] {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", child.ID.PID))
		if err != nil {
			continue
		}
		for _, rel := range cgroupPaths(string(data), id) {
			if strings.HasPrefix(rel, "/"+e.GroupName()+"/") || strings.HasPrefix(rel, "/"+e.cgroupSlice()+"/") {
				continue
			}
			for _, root := range h.All() {
				if dir := filepath.Join(root, rel); files.Exists(dir) && !slices.Contains(dirs, dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

// Containers returns the ids of the containers that run: those whose shims have children. Of a
// shim's process, id returns that of the container.
func (f *Found) Containers(id func(shim int) string) []string {
	var ids []string
	for _, shim := range f.Shims {
		if !slices.ContainsFunc(f.Procs, func(p Proc) bool { return p.PPID == shim.ID.PID }) {
			continue
		}
		if id := id(shim.ID.PID); id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// ShimContainer returns the id of the container of dockerd's a shim was started for.
func ShimContainer(pid int) string {
	if id := Argument(pid, "-id"); len(id) == 64 {
		return id
	}
	return ""
}

// Argument returns the argument of a process after name, or "".
func Argument(pid int, name string) string {
	args := arguments(pid)
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// HasArgument reports whether a process was started with the argument.
func HasArgument(pid int, arg string) bool { return slices.Contains(arguments(pid), arg) }

func arguments(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\x00")
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

// AnyRuns reports whether a process of any engine runs on the machine. It believes the markers
// of other users' processes: they have engines too, and a false one only keeps empty
// directories.
func AnyRuns() (bool, error) {
	all, err := All("")
	if err != nil {
		return true, err
	}
	return slices.ContainsFunc(all, func(p Proc) bool { return p.claim != "" }), nil
}
