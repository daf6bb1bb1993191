package namespaces

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// The engine is started through a helper: this program, run again in the new
// namespaces with the argument initArg. It sets them up and becomes the daemon.
//
// Namespaces are made when a process is made and entered by one that does nothing
// else: unshare(2) and setns(2) act on one thread, and a Go program has many.
const initArg = "__init"

// The helper's files.
const (
	planFD   = 3 + iota // the plan, as JSON
	reportFD            // takes the error, or is closed when the daemon runs
	pipeFD              // the write end of the exit pipe
	netnsFD             // the host's network namespace, or the engine's to enter
	mntnsFD             // the engine's mount namespace to enter
)

// A Plan is what the helper is to do.
type Plan struct {
	Enter   bool     // enter the namespaces of netnsFD and mntnsFD instead of setting up new ones
	Cgroups []string // directories of the groups to join
	Run     *Run     // the engine's own /run; nil: leave it
	Binds   []Bind
	Netns   string // where to bind the host's network namespace
	Sysctls []Sysctl
	Tap     []Sysctl   // of slirp4netns's interface
	DNS     netip.Addr // make it an address of the namespace, and pass on sockets for name queries; zero: don't
	// Localhost are ports of the host's loopback; with DNS, sockets for them are passed on.
	Localhost []uint16
	Rules     *Rules   // packet filter rules; nil: leave them
	Exec      []string // what to become; empty: end
	Env       []string
}

// A Bind is a private version of a path.
type Bind struct {
	Source, Target string
	Optional       bool // do nothing where source or target is missing
}

// RunHelper turns the process into the helper, or into a port proxy, if it was started as
// one, and then does not return. A program that uses this package must call it before
// anything else.
func RunHelper() {
	if filepath.Base(os.Args[0]) == portproxy.Name {
		portproxy.Program()
	}
	if len(os.Args) != 2 || os.Args[1] != initArg {
		return
	}
	runtime.LockOSThread()
	report := os.NewFile(reportFD, "report")
	if err := initMain(); err != nil {
		_, _ = io.WriteString(report, err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

func initMain() error {
	var p Plan
	// An end without a plan: who started this helper was killed before it had recorded
	// it. Nothing has happened yet.
	if err := json.NewDecoder(os.NewFile(planFD, "plan")).Decode(&p); err != nil {
		return fmt.Errorf("helper: plan: %w", err)
	}
	if p.Enter {
		if err := enter(); err != nil {
			return err
		}
	} else if err := setUp(p.Sysctls); err != nil {
		return err
	}
	var rules *ruling
	if p.Rules != nil {
		rules = p.Rules.set() // which takes programs a moment; meanwhile:
	}
	if p.Run != nil {
		if err := p.Run.cover(); err != nil {
			return err
		}
	}
	for _, dir := range p.Cgroups {
		if err := processes.Join(dir, 0); err != nil {
			return err
		}
	}
	if err := mountBinds(p.Binds); err != nil {
		return err
	}
	if p.Netns != "" {
		if err := mountNetns(p.Netns); err != nil {
			return err
		}
	}
	if !p.Enter {
		// Among ourselves: containers may ask for it (-v …:rshared). Not before all is mounted,
		// or it would be mounted at several places.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return fmt.Errorf("mount propagation of /: %w", err)
		}
	}
	if p.DNS.IsValid() {
		if err := openSockets(reportFD, p.DNS, p.Localhost); err != nil {
			return err
		}
	}
	if err := setTap(p.Tap); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "docker rd: no IPv6 beyond the host:", err)
	}
	if rules != nil {
		families, err := rules.wait()
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "docker rd: packet filter rules:", err)
		}
		p.Env = append(p.Env, portproxy.ClientAddrEnv+"="+families)
	}
	if len(p.Exec) == 0 {
		return nil
	}
	return become(p.Exec, p.Env)
}

// enter moves this thread, the only one that matters, into the engine's namespaces. A
// mount namespace can't be entered by a thread that shares its working directory.
func enter() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(netnsFD, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	if err := unix.Setns(mntnsFD, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

// setUp makes the new namespaces fit for an engine.
func setUp(sysctls []Sysctl) error {
	// The host's mounts go on to appear here, and none of ours there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("mount propagation of /: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	for _, ctl := range sysctls {
		// Without IPv6 there are none of it.
		err := os.WriteFile("/proc/sys/"+ctl.Name, []byte(ctl.Value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}

// mountBinds covers shared paths with private versions.
func mountBinds(binds []Bind) error {
	for _, b := range binds {
		if sameFile(b.Source, b.Target) {
			continue
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

// mountNetns makes the host's network namespace reachable by a path, for the proxies.
func mountNetns(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	source := fmt.Sprintf("/proc/self/fd/%d", netnsFD)
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the host's network namespace to %q: %w", path, err)
	}
	return nil
}

// become replaces this process by another program, which gets the exit pipe and no
// other file.
func become(argv, env []string) error {
	if err := unix.Dup3(pipeFD, ExitFD, 0); err != nil {
		return fmt.Errorf("exit pipe: %w", err)
	}
	if err := closeOnExec(3, ExitFD-1); err != nil {
		return err
	}
	if err := closeOnExec(ExitFD+1, ^uint(0)); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	syscall.Umask(0o022)
	return fmt.Errorf("run %q: %w", argv[0], syscall.Exec(argv[0], argv, env))
}

// closeOnExec marks a range of file descriptors, those that are open.
func closeOnExec(first, last uint) error {
	err := unix.CloseRange(first, last, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Before Linux 5.11.
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var fd uint
		if _, err := fmt.Sscan(e.Name(), &fd); err == nil && fd >= first && fd <= last {
			unix.CloseOnExec(int(fd))
		}
	}
	return nil
}
