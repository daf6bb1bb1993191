package namespaces

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
)

// ownGroups makes the groups above those of the daemon, each right below the root of a hierarchy, the
// roots in this mount namespace and in a cgroup namespace of its own, and moves this process into the
// daemon's.
func ownGroups(daemon []string) error {
	for _, dir := range daemon {
		if err := processes.Join(filepath.Dir(dir), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil { // of this thread, which becomes the daemon
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return err
	}
	for _, dir := range daemon {
		root := filepath.Dir(filepath.Dir(dir))
		i := slices.IndexFunc(infos, func(i *mountinfo.Info) bool { return i.Mountpoint == root })
		if i < 0 {
			return fmt.Errorf("no cgroups are mounted at %q", root)
		}
		// A file system can't be mounted over itself.
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount the host's cgroups at %q: %w", root, err)
		}
		const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("cgroup", root, infos[i].FSType, flags, hierarchyOptions(infos[i])); err != nil {
			return fmt.Errorf("mount the cgroups at %q: %w", root, err)
		}
		if err := leaveRoot(root); err != nil {
			return err
		}
	}
	return nil
}

// enterGroups moves this process into the daemon's groups, where those above them are the roots of
// the hierarchies in this mount namespace, and into their cgroup namespace.
func enterGroups(daemon []string) error {
	for _, dir := range daemon {
		if err := leaveRoot(filepath.Dir(filepath.Dir(dir))); err != nil {
			return err
		}
	}
	if err := unix.Setns(cgroupnsFD, unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("enter cgroup namespace: %w", err)
	}
	return nil
}

// hierarchyOptions returns the mount options that select a mounted hierarchy.
func hierarchyOptions(i *mountinfo.Info) string {
	if i.FSType == "cgroup2" {
		return ""
	}
	options := slices.DeleteFunc(strings.Split(i.VFSOptions, ","), func(o string) bool { return o == "rw" || o == "ro" })
	if len(options) > 0 && strings.HasPrefix(options[0], "name=") {
		options = append([]string{"none"}, options...)
	}
	return strings.Join(options, ",")
}

// leaveRoot moves this process from the root of the cgroups into a subgroup: in version 2 only
// groups without subgroups may have processes.
func leaveRoot(root string) error {
	dir := filepath.Join(root, processes.DaemonGroup)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return processes.Join(dir, 0)
}
