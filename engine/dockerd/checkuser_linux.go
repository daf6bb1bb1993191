package dockerd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// check implements [mode]. What can be tried is tried, in namespaces that end with it.
func (m userMode) check() []error {
	if os.Geteuid() == 0 {
		return []error{failure.WithHint(failure.Refuse("the rootless driver is for ordinary users, and this is root"),
			"leave `--driver` out")}
	}
	problems := m.checkAll(checkTools, checkUserSettings, checkIDs, checkTun, checkPaths, checkData, checkNFS)
	return append(problems, m.tryNamespaces()...)
}

// checkUserSettings refuses what an ordinary user's engine can't do.
func checkUserSettings(c *Config) error {
	user, err := readSettings(c.Args, c.ConfigFile)
	if err != nil {
		return nil // checkTools says so
	}
	if user.liveRestore() {
		return failure.WithHint(failure.Refuse("live-restore can't be with the rootless driver: its containers end with the engine"),
			"remove it from the engine's arguments and its daemon configuration")
	}
	if user.systemdCgroups() {
		return failure.WithHint(failure.Refuse("the cgroup driver systemd can't be with the rootless driver: it does not know the processes of the engine's pid namespace"),
			"remove native.cgroupdriver from the engine's arguments and its daemon configuration")
	}
	return nil
}

// checkIDs looks whether the user has ids for containers. Without, nothing fails at the
// start, but every image that has files of other users than root.
func checkIDs(*Config) error {
	ids, err := namespaces.OwnMap()
	if err != nil {
		return failure.Refuse("ids for containers: %w", err)
	}
	u, err := user.Current()
	if err != nil {
		return failure.Refuse("who is the user: %w", err)
	}
	var wrong, options []string
	for _, kind := range []struct {
		ranges             []namespaces.Range
		name, file, option string
	}{{ids.UIDs, "user", "/etc/subuid", "--add-subuids"}, {ids.GIDs, "group", "/etc/subgid", "--add-subgids"}} {
		if n := namespaces.Count(kind.ranges); n+1 < namespaces.Needed {
			wrong = append(wrong, fmt.Sprintf("%s has %d %s ids for containers in %s, and images need %d", u.Username, n, kind.name, kind.file, namespaces.Needed))
			options = append(options, fmt.Sprintf("%s %s", kind.option, freeRange(kind.file)))
		} else if overlap(kind.ranges) {
			return failure.WithHint(failure.Refuse("the %s ids of %s in %s overlap", kind.name, u.Username, kind.file), "`sudo editor %s`", kind.file)
		}
	}
	if len(wrong) > 0 {
		return failure.WithHint(failure.Refuse("%s", strings.Join(wrong, ", ")), "`sudo usermod %s %s`", strings.Join(options, " "), u.Username)
	}
	return nil
}

// overlap reports whether an id is in two of the ranges, which the kernel refuses.
func overlap(ranges []namespaces.Range) bool {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b namespaces.Range) int { return int(int64(a.Start) - int64(b.Start)) })
	for i := 1; i < len(sorted); i++ {
		if uint64(sorted[i-1].Start)+uint64(sorted[i-1].Count) > uint64(sorted[i].Start) {
			return true
		}
	}
	return false
}

// freeRange returns a range, as usermod takes it, that nobody has in the file.
func freeRange(file string) string {
	data, _ := os.ReadFile(file) // there may be none
	first := uint64(100000)
	for line := range strings.Lines(string(data)) {
		var start, count uint64
		_, rest, _ := strings.Cut(line, ":")
		if n, _ := fmt.Sscanf(rest, "%d:%d", &start, &count); n == 2 {
			first = max(first, start+count)
		}
	}
	return fmt.Sprintf("%d-%d", first, first+namespaces.Needed-1)
}

// checkNFS refuses data where files can't have other owners than the user.
func checkNFS(c *Config) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(nearest(c.DataRoot), &fs); err != nil || fs.Type != unix.NFS_SUPER_MAGIC {
		return nil
	}
	return failure.WithHint(failure.Refuse("data directory %q is on NFS, where containers' files can't have owners of their own", c.DataRoot),
		"set DOCKER_RD_HOME, or XDG_DATA_HOME, to a directory of a local disk")
}

// tryNamespaces makes the namespaces of an engine and tries in them what it needs.
func (m userMode) tryNamespaces() []error {
	ids, err := namespaces.OwnMap()
	if err != nil {
		return nil // checkIDs says so
	}
	for _, tool := range m.tools() {
		if _, err := programs.Find(tool.name); err != nil {
			ids = namespaces.IDMap{} // checkTools says so
		}
	}
	iptables, _ := programs.Find("iptables")
	probe, err := namespaces.ProbeUser(ids, iptables)
	if err != nil {
		if err = explainNamespaces(err); err == nil {
			return nil
		}
		return []error{err}
	}
	var problems []error
	if probe.Mounts != "" {
		problems = append(problems, failure.WithHint(failure.Refuse("an ordinary user can't have /proc and /sys of an engine's own here: %s", probe.Mounts),
			"in a container: run it with `--privileged`"))
	}
	user, err := readSettings(m.Args, m.ConfigFile)
	if err != nil {
		return problems
	}
	if probe.Iptables != "" && iptables != "" && !user.nftables() {
		problems = append(problems, failure.WithHint(failure.Refuse("iptables does not work for an ordinary user: %s", firstLine(probe.Iptables)),
			"`sudo modprobe -a %s`", iptablesModules(iptables)))
	}
	if _, err := programs.Find("fuse-overlayfs"); probe.Overlay != "" && err != nil && !user.has("storage-driver") {
		problems = append(problems, failure.WithHint(failure.Refuse("this kernel has no overlayfs for ordinary users (%s), and fuse-overlayfs is missing", probe.Overlay),
			"on Debian and Ubuntu: `sudo apt-get install fuse-overlayfs`"))
	}
	return problems
}

// explainNamespaces says in words what the kernel says by a number; nil where another
// check has found it.
func explainNamespaces(err error) error {
	if _, ok := errors.AsType[*namespaces.MapError](err); ok {
		return failure.WithHint(failure.Refuse("ids for containers: %w", err),
			"on Debian and Ubuntu: `sudo apt-get install --reinstall uidmap`; the ranges are in /etc/subuid and /etc/subgid")
	}
	what := failure.Refuse("an ordinary user can make no user namespaces here: %w", err)
	switch {
	case readSysctl("kernel/unprivileged_userns_clone") == "0":
		return failure.WithHint(what, "`sudo sysctl -w kernel.unprivileged_userns_clone=1`")
	case errors.Is(err, unix.ENOSPC): // the kernel's word for it is "no space left on device"
		return failure.WithHint(failure.Refuse("an ordinary user can make no user namespaces here: user.max_user_namespaces is %s", readSysctl("user/max_user_namespaces")),
			"`sudo sysctl -w user.max_user_namespaces=28633`")
	case readSysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		exe, _ := os.Executable()
		return failure.WithHint(what,
			"AppArmor wants a profile: `echo 'abi <abi/4.0>, profile docker-rd %s flags=(unconfined) { userns, }' | sudo tee /etc/apparmor.d/docker-rd && sudo apparmor_parser -r /etc/apparmor.d/docker-rd`", exe)
	}
	return failure.WithHint(what, "in a container: run it with `--privileged`")
}

func readSysctl(name string) string {
	data, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(data))
}

// iptablesModules are the kernel modules that the program needs, which it can't load itself
// in a user namespace.
func iptablesModules(iptables string) string {
	if real, err := os.Readlink("/etc/alternatives/iptables"); err == nil {
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

// UserLimits returns what an ordinary user's engine can't do, each with a hint.
func UserLimits() []error {
	return []error{failure.WithHint(errors.New("containers have no limits of memory and processors, and docker stats shows the machine's use: the control groups are root's"),
		"root's engines have limits")}
}
