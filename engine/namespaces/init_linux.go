package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/foreground"
	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// The engine is started through a helper: this program, run again in the new namespaces with
// the argument initArg. It sets them up and becomes the daemon.
//
// Namespaces are made with a process, or entered by nsenter: unshare(2) and setns(2) affect one
// thread, and a Go program has many.
const initArg = "__init"

// IsHelper reports whether a process is a helper that has not become the daemon.
func IsHelper(pid int) bool {
	return processes.HasArgument(pid, initArg) || processes.HasArgument(pid, userArg)
}

// The helper's files.
const (
	planFD     = 3 + iota // a socket for the plan, as JSON, and the report; closed when the daemon runs
	pipeFD                // the write end of the exit pipe
	selfFD                // this program, if the helper is started in the namespaces of a running engine
	cgroupnsFD            // the engine's cgroup namespace, to enter if it has OwnRoots
)

// A Plan says what the helper does.
type Plan struct {
	Inside  bool     // the helper was started in the namespaces of a running engine
	Cgroups []string // directories of the daemon's groups, to join
	// OwnRoots says that the groups above Cgroups become the roots of their hierarchies in the
	// namespaces, or are with Inside.
	OwnRoots bool
	Run      *Run // the engine's own /run, or nil
	Binds    []Bind
	Sysctls  []Sysctl
	IPv6     bool      // slirp4netns's interface has it
	Rules    *Rules    // packet filter rules, or nil
	Sockets  bool      // pass on sockets for name queries, and for the ports Rules.Localhost
	User     *UserPlan // not nil in a user namespace
	Probe    *ProbePlan
	Remove   string // a directory to remove, as uid 0 of a user namespace, or ""
	// RemoveBridge is the name of a bridge to remove, or "".
	RemoveBridge string
	Exec         []string // the daemon's command; if empty, the helper ends
	Env          []string
	// EnvFile is where to write what proxies need of Env, or "".
	EnvFile string
}

// A Bind is a private version of a path.
type Bind struct {
	Source, Target string
	Optional       bool // do nothing if source or target is missing
}

// RunHelper becomes the helper, a port proxy, or a command in an engine's namespaces, and does not
// return, if the process was started as one. A program that uses this package must call it first.
func RunHelper() {
	if len(os.Args) > 3 && os.Args[1] == foreground.ExecArg {
		foreground.Main(os.Args[2], os.Args[3:])
	}
	if portproxy.IsProgram(os.Args[0]) {
		portproxy.Program()
	}
	if len(os.Args) != 2 || os.Args[1] != initArg && os.Args[1] != userArg {
		return
	}
	runtime.LockOSThread()
	report := os.NewFile(planFD, "plan")
	run := func() error { return initMain(report) }
	if os.Args[1] == userArg {
		run = awaitIDs
	}
	if err := run(); err != nil {
		_, _ = io.WriteString(report, err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// initMain carries out the plan. If the daemon is a process of its own, initMain closes report
// once it runs.
func initMain(report *os.File) error {
	var p Plan
	// Without a plan, the parent was killed before it had recorded this helper. Nothing has
	// happened yet.
	data, err := io.ReadAll(report) // all: bytes that are left would make the report an error
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return fmt.Errorf("helper: plan: %w", err)
	}
	// Neither child processes nor the daemon may keep the socket open.
	if err := closeOnExec(); err != nil {
		return err
	}
	switch {
	case p.Probe != nil:
		return json.NewEncoder(report).Encode(p.Probe.do())
	case p.Remove != "":
		return os.RemoveAll(p.Remove)
	case p.RemoveBridge != "":
		return removeBridge(p.RemoveBridge)
	}
	waitForRules, err := p.setUp()
	if err != nil {
		return err
	}
	if p.IPv6 {
		if err := acceptRouters(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "docker rd: no IPv6 beyond the host:", err)
		}
	}
	if waitForRules != nil {
		families, names, err := waitForRules()
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "docker rd: packet filter rules:", err)
		}
		if p.Sockets {
			if err := p.Rules.openSockets(planFD, names); err != nil {
				return err
			}
		}
		p.Env = append(p.Env, portproxy.ClientAddrEnv+"="+families)
	}
	if p.EnvFile != "" {
		if err := os.WriteFile(p.EnvFile, []byte(strings.Join(proxyEnv(p.Env), "\x00")), 0o600); err != nil {
			return err
		}
	}
	switch {
	case len(p.Exec) == 0:
		return nil
	case p.User != nil:
		return runInit(p, report)
	}
	return become(p.Exec, p.Env)
}

// proxyEnv returns what proxies need of a daemon's environment. It is all ours.
func proxyEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return !strings.HasPrefix(v, "DOCKER_RD_") })
}

// setUp prepares new namespaces for an engine, or carries out the plan in those of a running
// one. The rules are still being set when it returns.
func (p *Plan) setUp() (waitForRules func() (families string, names uint16, err error), err error) {
	if !p.Inside {
		if err := setUpNew(p.User, p.Sysctls); err != nil {
			return nil, err
		}
	}
	if p.Run != nil {
		if err := p.Run.mount(); err != nil {
			return nil, err
		}
	}
	if p.Rules != nil { // iptables takes its lock in the engine's own /run
		waitForRules = p.Rules.set(p.Sockets) // async: the programs take a moment
	}
	if p.User != nil {
		if err := p.User.copyUp(); err != nil {
			return nil, err
		}
	}
	if err := p.joinGroups(); err != nil {
		return nil, err
	}
	if err := mountBinds(p.Binds, p.User != nil); err != nil {
		return nil, err
	}
	if p.Inside {
		return waitForRules, nil
	}
	// Shared within the engine: containers may ask for it (-v …:rshared). Only after all mounts,
	// or they would appear in several places.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return nil, fmt.Errorf("mount propagation of /: %w", err)
	}
	return waitForRules, nil
}

// joinGroups moves this process into the engine's control groups.
func (p *Plan) joinGroups() error {
	switch {
	case p.OwnRoots && p.Inside:
		return enterGroups(p.Cgroups)
	case p.OwnRoots:
		return ownGroups(p.Cgroups)
	}
	for _, dir := range p.Cgroups {
		if err := processes.Join(dir, 0); err != nil {
			return err
		}
	}
	return nil
}

// setUpNew prepares new namespaces for an engine, in a user namespace where user is not nil.
func setUpNew(user *UserPlan, sysctls []Sysctl) error {
	// The host's mounts still appear here, but ours do not appear there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount propagation of /: %w", err)
	}
	if user != nil {
		if err := user.mountSystem(); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	for _, ctl := range sysctls {
		// Without IPv6 its settings do not exist.
		if err := ctl.set(); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// mountBinds covers shared paths with private versions. With make it makes missing targets.
func mountBinds(binds []Bind, make bool) error {
	for _, b := range binds {
		if sameFile(b.Source, b.Target) {
			continue
		}
		if make {
			if err := b.makeTarget(); err != nil && !b.Optional {
				return err
			}
		}
		err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND|unix.MS_REC, "")
		if b.Optional && errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bind %q to %q: %w", b.Source, b.Target, err)
		}
	}
	return nil
}

// become replaces this process by another program, which only gets the exit pipe.
func become(argv, env []string) error {
	if err := unix.Dup3(pipeFD, ExitFD, 0); err != nil {
		return fmt.Errorf("exit pipe: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	syscall.Umask(0o022)
	// As Docker's own service: where memory runs out, containers end before the engine. In a
	// container root may not do that.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-500"), 0)
	return fmt.Errorf("run %q: %w", argv[0], syscall.Exec(argv[0], argv, env))
}

// closeOnExec marks all open files but the standard ones.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > syscall.Stderr {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
