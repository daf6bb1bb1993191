package isolated

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// tools are the programs every engine needs, and the Debian packages they come in.
var tools = []tool{
	{"iptables", "iptables"},
	{namespaces.CommSlirp, "slirp4netns"},
	{"nsenter", "util-linux"},
}

// own are the programs that the engine consists of, beside its daemon.
var own = []tool{
	{"containerd", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"runc", "runc"},
}

type tool struct{ name, pkg string }

// validUID is what can stand in a path, a cgroup's name and an environment variable.
var validUID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)

const maxUID = 64

// Check returns everything that prevents a start of the engine. It changes nothing. Each error
// has exit status 3 and a hint.
func (c *Config) Check() []error {
	if len(c.UID) > maxUID || !validUID.MatchString(c.UID) {
		return []error{failure.Refuse("engine uid %q: letters, digits and '-' are allowed, 64 at most", c.UID)}
	}
	return c.mode().check()
}

// checkAll calls each, and returns all that they find.
func (c *Config) checkAll(checks ...func(*Config) error) (problems []error) {
	for _, check := range checks {
		if err := check(c); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// check implements [mode].
func (m rootMode) check() []error {
	if err := checkRoot(m.Config); err != nil {
		return []error{err} // the others would only be consequences
	}
	return m.checkAll(checkFiles, checkNamespaces, checkTools, checkPrograms, checkTun, checkCgroups, checkLimits, checkPaths, checkData)
}

func checkRoot(*Config) error {
	if os.Geteuid() != 0 {
		return failure.WithHint(failure.Refuse("the dockerd driver needs root"),
			"run it with sudo, or leave `--driver` out: an ordinary user gets an engine without root")
	}
	// In a container root may lack what it takes.
	var has [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &has[0]); err != nil {
		return failure.Refuse("capabilities: %w", err)
	}
	for _, needed := range []struct {
		name string
		bit  uint
	}{{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		if has[0].Effective&(1<<needed.bit) == 0 {
			return failure.WithHint(failure.Refuse("root lacks %s here, without which it can't make namespaces", needed.name),
				"run it outside of the container, or in a privileged one")
		}
	}
	return nil
}

func checkTools(cfg *Config) error {
	user, err := cfg.program().options()
	if err != nil {
		return err
	}
	var missing, packages []string
	needed := slices.Concat(cfg.mode().tools(), tools)
	if cfg.Settings.EnginePath == "" {
		needed = slices.Concat(cfg.mode().tools(), cfg.program().tools, own, tools)
	}
	for _, tool := range needed {
		if tool.name == "iptables" && user.nftables() {
			continue // dockerd may have a library instead of the program nft
		}
		if _, err := programs.Find(tool.name); err != nil {
			missing = append(missing, tool.name)
			if !slices.Contains(packages, tool.pkg) {
				packages = append(packages, tool.pkg)
			}
		}
	}
	if len(missing) > 0 {
		return failure.WithHint(failure.Refuse("missing: %s", strings.Join(missing, ", ")),
			"on Debian and Ubuntu: `sudo apt-get install %s`", strings.Join(packages, " "))
	}
	return nil
}

// With less than this, engines fail somewhere, with words that don't say why.
const (
	fewestFiles     = 256 // that a process may open
	fewestProcesses = 128 // that a user may have; root has no limit
)

// checkFiles refuses a limit of open files that is too low.
func checkFiles(*Config) error {
	limit, low := tooLow(unix.RLIMIT_NOFILE, fewestFiles)
	if !low {
		return nil
	}
	return failure.WithHint(failure.Refuse("a process may open %d files here at most (`ulimit -Hn`), and an engine needs %d", limit, fewestFiles),
		"try a new login, or raise the limit in /etc/security/limits.conf; in a container: run it with `--ulimit nofile=524288`")
}

// checkProcesses refuses a limit of a user's processes that is too low.
func checkProcesses(*Config) error {
	limit, low := tooLow(unix.RLIMIT_NPROC, fewestProcesses)
	if !low {
		return nil
	}
	return failure.WithHint(failure.Refuse("you may have %d processes here at most (`ulimit -Hu`), and an engine needs %d", limit, fewestProcesses),
		"log in again, or have the limit raised in /etc/security/limits.conf")
}

// tooLow reports whether a hard limit is too low. It raises this process's, if it may: the supervisor
// will raise its own.
func tooLow(resource int, least uint64) (limit uint64, low bool) {
	var now unix.Rlimit
	if unix.Getrlimit(resource, &now) != nil || now.Max >= least {
		return 0, false
	}
	return now.Max, unix.Setrlimit(resource, &unix.Rlimit{Cur: now.Cur, Max: least}) != nil
}

// checkNamespaces refuses a root directory that mounts and containers' own can't replace, and limits of
// the kernel's. It is for root too.
func checkNamespaces(*Config) error {
	if points, err := mounts.Below("/"); err == nil && !slices.Contains(points, "/") {
		return failure.WithHint(failure.Refuse("the root directory is no mount point, as in a chroot: containers can't have another one"),
			"before chroot: `sudo mount --bind DIRECTORY DIRECTORY`")
	}
	return limitedNamespaces(readSysctl)
}

// limitedNamespaces refuses a limit with which there can be no namespaces of a kind that engines or
// containers have.
func limitedNamespaces(sysctl func(string) string) error {
	for _, kind := range []string{"mnt", "net", "pid", "ipc", "uts", "cgroup"} {
		if limit := "max_" + kind + "_namespaces"; sysctl("user/"+limit) == "0" {
			return failure.WithHint(failure.Refuse("no %s namespaces can be made here: user.%s is 0", kind, limit),
				"`sudo sysctl -w user.%s=28633`", limit)
		}
	}
	return nil
}

func checkTun(*Config) error {
	const tun = "/dev/net/tun"
	fd, err := unix.Open(tun, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		hint := "`sudo modprobe tun`; in a container: run it with `--device " + tun + "`"
		if errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 {
			hint = "`sudo chmod 666 " + tun + "`"
		}
		return failure.WithHint(failure.Refuse("%s: %w (slirp4netns needs it)", tun, err), "%s", hint)
	}
	return unix.Close(fd)
}

func checkCgroups(*Config) error {
	h, err := processes.FindHierarchies()
	if err != nil {
		return failure.Refuse("cgroups: %w", err)
	}
	if len(h.All()) == 0 {
		return failure.WithHint(failure.Refuse("no cgroups are mounted, without which there are no containers"),
			"`sudo mount -t cgroup2 none /sys/fs/cgroup`")
	}
	for _, root := range h.All() {
		if err := unix.Access(root, unix.W_OK); err != nil {
			return failure.WithHint(failure.Refuse("cgroups %q can't be written: %w", root, err),
				"in a container: run it with `--privileged`")
		}
	}
	return nil
}

// checkLimits refuses limits that the control groups can't keep to.
func checkLimits(c *Config) error {
	if c.limits() == (Limits{}) {
		return nil
	}
	if err := checkContainerdLimits(c); err != nil {
		return err
	}
	h, err := processes.FindHierarchies()
	if err != nil {
		return nil // checkCgroups says so
	}
	for _, controller := range c.limits().Controllers() {
		if err := h.Lacks(controller); err != nil {
			return failure.WithHint(failure.Refuse("limits: %w", err),
				"leave the limit out; if memory can't be limited, the kernel parameter `cgroup_enable=memory` may help")
		}
	}
	if user, err := readDaemonOptions(c.Settings.EngineArgs, c.Settings.DaemonConfig); err == nil && user.systemdCgroups() {
		return failure.WithHint(failure.Refuse("limits are not supported with the cgroup driver systemd: it moves containers out of the engine's control group"),
			"remove native.cgroupdriver from the engine's arguments and its daemon configuration")
	}
	return nil
}

func checkContainerdLimits(c *Config) error {
	if c.isContainerd() && c.limits().Pids != 0 {
		return failure.WithHint(failure.Refuse("pids-limit is not supported with a containerd: it has no single control group for all containers"),
			"leave it out; memory and cpus work")
	}
	return nil
}

// SetLimits limits the running engine as the settings say.
func (c *Config) SetLimits() error {
	err := c.mode().limit()
	if e, ok := errors.AsType[*processes.LimitError](err); ok && e.Controller == "memory" && errors.Is(err, unix.EBUSY) {
		return failure.WithHint(failure.Refuse("memory: the containers use more than that now, and can't be made to use less"),
			"stop containers first")
	}
	return err
}

// unusable are characters with which dockerd fails, or makes directories elsewhere: it reads
// some paths as lists, formats or URLs.
const unusable = `,:%\`

func checkPaths(cfg *Config) error {
	for _, p := range []struct {
		name, path string
		max        int // 0: as long as it likes
	}{
		{"data directory", cfg.Paths.Data, 0},
		{"runtime directory", cfg.Paths.Exec(), maxExecRoot},
		{"state directory", cfg.Paths.EngineState(), 0},
		{"socket", cfg.Socket(), cfg.program().maxSocket},
		{"log", cfg.Paths.EngineLog(), 0},
		{"port proxy", cfg.Proxy, 0},
	} {
		if !filepath.IsAbs(p.path) || filepath.Clean(p.path) != p.path {
			return failure.Refuse("%s %q: an absolute, clean path is needed", p.name, p.path)
		}
		if i := strings.IndexAny(p.path, unusable); i >= 0 {
			return failure.WithHint(failure.Refuse("%s %q: dockerd can't have %q in a path", p.name, p.path, p.path[i]),
				"set DOCKER_RD_HOME to a directory without it")
		}
		if n := len(p.path); p.max > 0 && n > p.max {
			return failure.WithHint(failure.Refuse("%s %q is too long: %d bytes, %d at most", p.name, p.path, n, p.max),
				"set DOCKER_RD_HOME to a shorter directory")
		}
	}
	return nil
}

// checkData checks that the directories can be written or made, without doing so.
func checkData(cfg *Config) error {
	for _, dir := range []string{cfg.Paths.Data, cfg.Paths.Exec(), cfg.Paths.EngineState(), filepath.Dir(cfg.Socket()), filepath.Dir(cfg.Paths.EngineLog())} {
		path := nearest(dir)
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = unix.Access(path, unix.W_OK|unix.X_OK)
		}
		var fs unix.Statfs_t
		if err == nil && unix.Statfs(path, &fs) == nil && (fs.Type == unix.PROC_SUPER_MAGIC || fs.Type == unix.SYSFS_MAGIC) {
			err = syscall.EROFS // root may write there, but there are no files to make
		}
		if err != nil {
			return failure.WithHint(failure.Refuse("directory %q can't be written: %w", dir, err),
				"set DOCKER_RD_HOME to a directory that can")
		}
	}
	return nil
}

// nearest returns the path, or the nearest existing directory above it.
func nearest(path string) string {
	for path != "/" {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}
