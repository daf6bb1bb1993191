package isolated

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// check implements [mode]. It tries what it can, in namespaces that end with it.
func (m userMode) check() []error {
	if os.Geteuid() == 0 {
		return []error{failure.WithHint(failure.Refuse("the rootless driver is for ordinary users, and this is root"),
			"leave `--driver` out")}
	}
	ids, noIDs := checkIDs()
	problems := m.checkAll(checkFiles, checkProcesses, checkTools, checkPrograms, checkUserSettings, checkUserLimits, func(*Config) error { return noIDs }, checkTun, checkPaths, checkData, checkNFS)
	if err := checkNamespaces(m.Config); err != nil {
		return append(problems, err) // the others would only be consequences
	}
	return append(problems, m.tryNamespaces(ids, noIDs != nil)...)
}

// checkUserSettings refuses what an ordinary user's engine can't do.
func checkUserSettings(c *Config) error {
	user, err := c.program().options()
	if err != nil {
		return nil // checkTools says so
	}
	if user.liveRestore() {
		return failure.WithHint(failure.Refuse("the rootless driver does not support live-restore: containers end with the engine"),
			"remove it from the engine's arguments and its daemon configuration")
	}
	if user.systemdCgroups() {
		return failure.WithHint(failure.Refuse("the rootless driver does not support the cgroup driver systemd, which does not know the processes of the engine's pid namespace"),
			"remove native.cgroupdriver from the engine's arguments and its daemon configuration")
	}
	return nil
}

// checkIDs looks whether the user has ids for containers, and returns them. Without, nothing
// fails at the start, but every image that has files of other users than root.
func checkIDs() (namespaces.IDMap, error) {
	u, err := user.Current()
	if err != nil {
		return namespaces.IDMap{}, failure.WithHint(failure.Refuse("ids for containers: the user id %d has no name in /etc/passwd", os.Getuid()),
			"set USER to the name that `id -un` prints; if it prints none, run it as a user who has one")
	}
	ids, err := namespaces.OwnMap()
	if err != nil {
		return ids, failure.Refuse("ids for containers: %w", err)
	}
	return ids, judgeIDs(u, namespaces.IDSource(), []ownIDs{
		{"user", "/etc/subuid", "subuids", uint32(os.Getuid()), ids.UIDs},
		{"group", "/etc/subgid", "subgids", uint32(os.Getgid()), ids.GIDs},
	})
}

// ownIDs are a user's ids of one kind.
type ownIDs struct {
	kind, file, option string
	own                uint32 // the user's own id, which is 0 in containers
	ranges             []namespaces.Range
}

// judgeIDs returns what is wrong with a user's ids from a source.
func judgeIDs(u *user.User, source string, all []ownIDs) error {
	username := u.Username
	var wrong, options, commands []string
	for _, ids := range all {
		if source != namespaces.FilesSource {
			ids.file = fmt.Sprintf("the service %q", source)
		}
		n := namespaces.Count(ids.ranges)
		shared, other, conflict := ids.conflict(u)
		switch {
		case n+1 < namespaces.Needed:
			wrong = append(wrong, fmt.Sprintf("%s has %d %s ids for containers in %s, and images need %d", username, n, ids.kind, ids.file, namespaces.Needed))
			options = append(options, fmt.Sprintf("--add-%s %s", ids.option, ids.freeRange()))
		case conflict && other == "":
			wrong = append(wrong, fmt.Sprintf("%s has %s ids twice in %s: the range that begins with %d overlaps another", username, ids.kind, ids.file, shared.Start))
			commands = append(commands, ids.replace(u, shared))
		case conflict:
			wrong = append(wrong, fmt.Sprintf("%s's %s ids for containers in %s overlap those of %s: the range that begins with %d", username, ids.kind, ids.file, other, shared.Start))
			commands = append(commands, ids.replace(u, shared))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	err := failure.Refuse("%s", strings.Join(wrong, ", "))
	if source != namespaces.FilesSource {
		return failure.WithHint(err, "/etc/nsswitch.conf names that service: who runs it can give %s others (`getsubids %[1]s` shows them)", username)
	}
	if len(options) > 0 {
		commands = append(commands, fmt.Sprintf("usermod %s %s", strings.Join(options, " "), username))
	}
	return failure.WithHint(err, "`sudo %s`", strings.Join(commands, " && sudo "))
}

// replace is the command that gives the user other ids for those of a range, of which the file may
// have two. usermod takes none away while a process of the user's runs.
func (ids ownIDs) replace(u *user.User, r namespaces.Range) string {
	return fmt.Sprintf("sed -i -E '0,/^(%s|%s):%d:%d$/s//%s:%d:%d/' %s", u.Username, u.Uid, r.Start, r.Count, u.Username, ids.freeStart(), namespaces.Needed, ids.file)
}

// conflict returns a range of the user's that overlaps another one, or has the user's own id, which the
// kernel refuses; or one that the file gives somebody else too, who could read and write files of the
// user's containers.
func (ids ownIDs) conflict(u *user.User) (shared namespaces.Range, other string, ok bool) {
	taken := []namespaces.Subordinate{{Range: namespaces.Range{Start: ids.own, Count: 1}}}
	all, _ := namespaces.ReadSubordinates(ids.file) // there is none of a service
	for _, s := range all {
		if !s.Of(u) {
			taken = append(taken, s)
		}
	}
	for _, own := range ids.ranges {
		for _, t := range taken {
			if own.Overlaps(t.Range) {
				return own, t.User, true
			}
		}
		taken = append(taken, namespaces.Subordinate{Range: own})
	}
	return namespaces.Range{}, "", false
}

// freeRange returns a range for usermod that is free in the file.
func (ids ownIDs) freeRange() string {
	first := ids.freeStart()
	return fmt.Sprintf("%d-%d", first, first+namespaces.Needed-1)
}

// freeStart returns where the ids begin that are free in the file. The user's own is not among them.
func (ids ownIDs) freeStart() uint64 {
	all, _ := namespaces.ReadSubordinates(ids.file) // there may be none
	first := uint64(100000)
	for _, s := range all {
		first = max(first, s.End())
	}
	if own := uint64(ids.own); first <= own && own < first+namespaces.Needed {
		return own + 1
	}
	return first
}

// checkNFS refuses a data directory on NFS, where files can't have other owners.
func checkNFS(c *Config) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(nearest(c.Paths.Data), &fs); err != nil {
		return nil // checkData says so
	}
	return c.refuseNFS(fs)
}

func (c *Config) refuseNFS(fs unix.Statfs_t) error {
	if fs.Type != unix.NFS_SUPER_MAGIC {
		return nil
	}
	return failure.WithHint(failure.Refuse("data directory %q is on NFS, where containers' files can't have owners of their own", c.Paths.Data),
		"%s", elsewhere)
}

const elsewhere = "set DOCKER_RD_HOME, or XDG_DATA_HOME, to a directory of a local disk"

// tryNamespaces tries what an engine needs in temporary namespaces. If ids are missing, or programs
// to map them, it uses only the user's own id.
func (m userMode) tryNamespaces(ids namespaces.IDMap, missing bool) []error {
	for _, tool := range m.tools() {
		_, err := programs.Find(tool.name)
		missing = missing || err != nil
	}
	if missing {
		ids = namespaces.IDMap{}
	}
	var plan namespaces.ProbePlan
	user, err := m.program().options()
	if err != nil {
		return nil // checkTools says so
	}
	if !user.nftables() {
		plan.Iptables, _ = programs.Find("iptables")
	}
	plan.Fuse, _ = programs.Find(fuseOverlay)
	if checkData(m.Config) == nil && checkNFS(m.Config) == nil {
		plan.Data = nearest(m.Paths.Data)
	}
	probe, err := namespaces.ProbeUser(ids, plan)
	if err != nil {
		return []error{explainNamespaces(err, readSysctl)}
	}
	if missing {
		probe.Owners = "" // there are no others
	}
	return m.explainProbe(plan, probe, user.has("storage-driver"), readSysctl)
}

// fuseOverlay is the program, and dockerd's storage driver that runs it.
const fuseOverlay = "fuse-overlayfs"

// orVFS names the alternative that always works, and its cost.
const orVFS = "; or the engine's argument `--storage-driver vfs`, with which each image and container takes its full size"

// needsFuse reports whether the data need fuse-overlayfs. dockerd before version 29 detects that
// itself; later versions use overlayfs, with which no container starts.
func (c *Config) needsFuse() bool {
	if files.Exists(filepath.Join(c.Paths.Data, fuseOverlay)) {
		return true
	}
	if entries, err := os.ReadDir(c.Paths.Data); err != nil || len(entries) > 0 {
		return false // dockerd has chosen before
	}
	plan := namespaces.ProbePlan{Data: c.Paths.Data}
	plan.Fuse, _ = programs.Find(fuseOverlay)
	probe, err := namespaces.ProbeUser(namespaces.IDMap{}, plan) // which is quicker than with all ids
	return err == nil && probe.Overlay != "" && plan.Fuse != "" && probe.Fuse == ""
}

// explainProbe returns what a probe has found missing. A storage driver that the user has chosen is
// not checked.
func (m userMode) explainProbe(plan namespaces.ProbePlan, probe namespaces.Probe, storage bool, sysctl func(string) string) (problems []error) {
	refuse := func(hint, format string, args ...any) {
		problems = append(problems, failure.WithHint(failure.Refuse(format, args...), "%s", hint))
	}
	if probe.Mounts != "" {
		refuse(namespacesHint(sysctl), "an ordinary user can't have /proc and /sys of an engine's own here: %s", probe.Mounts)
		return problems // nothing else was tried
	}
	if probe.Data != "" {
		refuse("free some space, or "+elsewhere, "data directory %q can't be written: %s", m.Paths.Data, probe.Data)
	}
	if probe.Owners != "" {
		refuse(elsewhere, "data directory %q: containers' files can't have owners of their own there: %s", m.Paths.Data, probe.Owners)
	}
	switch {
	case probe.Overlay == "":
	case m.isContainerd(): // whose snapshotter knows no other
		refuse(elsewhere, "data directory %q: overlayfs does not work there for an ordinary user: %s", m.Paths.Data, probe.Overlay)
	case storage:
	case plan.Fuse == "":
		refuse("on Debian and Ubuntu: `sudo apt-get install fuse-overlayfs`"+orVFS,
			"data directory %q: overlayfs does not work there for an ordinary user (%s), and %s is missing", m.Paths.Data, probe.Overlay, fuseOverlay)
	case probe.Fuse != "":
		refuse("`sudo modprobe fuse`, `sudo chmod 666 /dev/fuse`"+orVFS,
			"data directory %q: neither overlayfs (%s) nor %s (%s) works there for an ordinary user", m.Paths.Data, probe.Overlay, fuseOverlay, lastLine(probe.Fuse))
	}
	if probe.Iptables != "" {
		refuse("`sudo modprobe -a "+iptablesModules(plan.Iptables)+"`", "iptables does not work for an ordinary user: %s", firstLine(probe.Iptables))
	}
	return problems
}

// explainNamespaces explains the kernel's error.
func explainNamespaces(err error, sysctl func(string) string) error {
	if _, ok := errors.AsType[*namespaces.MapError](err); ok {
		refused := failure.Refuse("ids for containers: %w", err)
		if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
			return failure.WithHint(refused, "this process may get no privileges by programs: run it outside of the service that has `NoNewPrivileges=yes`, or the container that has `--security-opt no-new-privileges`")
		}
		return failure.WithHint(refused,
			"on Debian and Ubuntu: `sudo apt-get install --reinstall uidmap`; the ranges are in /etc/subuid and /etc/subgid")
	}
	if errors.Is(err, unix.ENOSPC) { // the kernel's word for it is "no space left on device"
		return failure.WithHint(failure.Refuse("an ordinary user can make no user namespaces here: user.max_user_namespaces is %s", sysctl("user/max_user_namespaces")),
			"`sudo sysctl -w user.max_user_namespaces=28633`")
	}
	return failure.WithHint(failure.Refuse("an ordinary user can make no user namespaces here: %w", err), "%s", namespacesHint(sysctl))
}

// namespacesHint is the remedy if an ordinary user can't have full user namespaces.
func namespacesHint(sysctl func(string) string) string {
	switch {
	case sysctl("kernel/unprivileged_userns_clone") == "0":
		return "`sudo sysctl -w kernel.unprivileged_userns_clone=1`"
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		exe, _ := os.Executable()
		return fmt.Sprintf("AppArmor wants a profile: `echo 'abi <abi/4.0>, profile docker-rd %s flags=(unconfined) { userns, }' | sudo tee /etc/apparmor.d/docker-rd && sudo apparmor_parser -r /etc/apparmor.d/docker-rd`", exe)
	}
	return "in a container: run it with `--privileged`"
}

func readSysctl(name string) string {
	data, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(data))
}

// iptablesModules are the kernel modules that the program needs. It can't load them in a user
// namespace.
func iptablesModules(iptables string) string {
	if real, err := filepath.EvalSymlinks(iptables); err == nil {
		iptables = real
	}
	if strings.Contains(iptables, "legacy") {
		return "ip_tables iptable_nat iptable_filter"
	}
	return "nf_tables nft_chain_nat nft_compat"
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// Lacks returns what the running engine can't do, each with a hint: only an ordinary user's lacks
// anything.
func (c *Config) Lacks() (limits []error) {
	if !c.rootless() {
		return nil
	}
	if err := (userMode{c}).lacksLimits(); err != nil {
		limits = append(limits, err)
	}
	if files.Exists(filepath.Join(c.Paths.Data, fuseOverlay)) {
		limits = append(limits, failure.WithHint(fmt.Errorf("containers' files go through %s, which is slow: overlayfs did not work in %q", fuseOverlay, c.Paths.Data),
			"a new instance is faster on Linux 5.11 or later, and on a local disk"))
	}
	return limits
}
