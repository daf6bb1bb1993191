package dockerd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Start starts the engine and returns when its process runs: that it answers is for
// the caller to find out. What was left of a former engine is ended and removed first;
// with live-restore, dockerd comes back to the containers that still run. An engine
// that runs already is ErrRunning.
//
// When ctx ends before, or on an error, nothing is left. Afterwards ctx means nothing:
// the engine ends by [Engine.Stop], and not with the calling process.
func Start(ctx context.Context, cfg Config) (*Engine, error) {
	user, err := readSettings(cfg.Args, cfg.ConfigFile)
	if err != nil {
		return nil, err
	}
	l := &launch{cfg: cfg, user: user, former: cfg.readRecord()}
	if l.hier, err = findHierarchies(); err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	engine, err := l.start(ctx)
	if err != nil {
		if cleanErr := Cleanup(context.WithoutCancel(ctx), cfg); cleanErr != nil {
			err = errors.Join(err, cleanErr)
		}
		return nil, err
	}
	return engine, nil
}

// A launch is one start of an engine.
type launch struct {
	cfg    Config
	user   *settings
	hier   hierarchies
	former record
	rec    record
	into   *proc // a process whose namespaces dockerd enters; nil: new ones
}

// clear ends what is left of a former engine, and finds out whether to go back into
// its namespaces.
func (l *launch) clear(ctx context.Context) error {
	f := &found{}
	if !l.cfg.neverRan() {
		var err error
		if f, err = l.cfg.scan(l.hier); err != nil {
			return err
		}
	}
	switch {
	case f.squatter != nil:
		return failure.WithHint(failure.Refuse("%q and %q are used by the engine of another instance: %s", l.cfg.DataRoot, l.cfg.ExecRoot, f.squatter.id),
			"end it first, if its instance is gone: kill %d", f.squatter.id.PID)
	case f.daemon != nil:
		return ErrRunning
	case len(f.shims) > 0 && l.user.liveRestore():
		// In new namespaces dockerd would find the containers running, and their networks
		// nowhere.
		l.into = &f.shims[0]
		// A containerd that is just ending would be taken for a running one.
		for _, p := range f.procs {
			if p.marked && (p.comm == "containerd" || p.comm == filepath.Base(l.cfg.Proxy)) {
				_ = p.id.Signal(syscall.SIGKILL)
				if err := p.id.Wait(ctx); err != nil {
					return err
				}
			}
		}
	case len(f.procs) > 0:
		if _, err := l.cfg.endProcesses(ctx, l.hier); err != nil {
			return err
		}
	}
	if l.into == nil {
		for _, dir := range []string{l.cfg.ExecRoot, l.cfg.private(runDocker), l.cfg.private(runContainerd)} {
			if err := l.cfg.removeTree(dir); err != nil {
				return err
			}
		}
	}
	// No dockerd and no containerd runs. Their pid files would keep new ones from
	// starting if another process had the number by now, even a zombie.
	for _, path := range []string{l.cfg.pidFile(), filepath.Join(l.cfg.ExecRoot, "containerd", "containerd.pid")} {
		if err := removeFile(path); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) pidFile() string { return filepath.Join(c.ExecRoot, "docker.pid") }

// tempDir is where containerd dumps its stacks when dockerd gives it up; dockerd itself
// has its temporary files below the data.
func (c *Config) tempDir() string { return filepath.Join(c.ExecRoot, "tmp") }

func (l *launch) start(ctx context.Context) (*Engine, error) {
	c := &l.cfg
	dockerd, err := lookPath("dockerd")
	if err != nil {
		return nil, err
	}
	slirpPath, err := lookPath("slirp4netns")
	if err != nil {
		return nil, err
	}
	if l.rec.Subnets = l.former.Subnets; l.into == nil || !l.rec.Subnets.Slirp.IsValid() {
		routes, err := hostRoutes()
		if err != nil {
			return nil, fmt.Errorf("routes: %w", err)
		}
		l.rec.Subnets = chooseSubnets(routes, l.former.Subnets)
	}
	args, err := l.prepare(dockerd)
	if err != nil {
		return nil, err
	}
	log, err := logfile.Open(c.LogPath)
	if err != nil {
		return nil, fmt.Errorf("engine log: %w", err)
	}
	defer log.Close()
	if l.rec.LogOffset, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("engine log: %w", err)
	}
	if err := closeInherited(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.spawn(ctx, slirpPath, args, log)
}

// prepare makes directories and files, and returns dockerd's command line.
func (l *launch) prepare(dockerd string) ([]string, error) {
	c := &l.cfg
	for _, dir := range []string{c.DataRoot, c.tempDir(), filepath.Dir(c.Socket), filepath.Dir(c.LogPath),
		c.private(runDocker), c.private(runContainerd), c.private(optContainerd), filepath.Join(c.private(etcDocker), "certs.d")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := c.writeResolvConf(l.rec.Subnets); err != nil {
		return nil, err
	}
	config, userArgs, err := l.user.merged(l.rec.Subnets)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.private(daemonJSON), config, 0o600); err != nil {
		return nil, err
	}
	args := []string{dockerd,
		"--config-file", c.private(daemonJSON),
		"--host", "unix://" + c.Socket,
		"--data-root", c.DataRoot,
		"--exec-root", c.ExecRoot,
		"--pidfile", c.pidFile(),
		"--cgroup-parent", c.cgroupParent(l.user.systemdCgroups()),
		"--userland-proxy-path", c.Proxy,
	}
	return append(args, userArgs...), nil
}

// writeResolvConf makes the engine's resolv.conf from the host's.
func (c *Config) writeResolvConf(net subnets) error {
	host, err := os.ReadFile(hostResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data := privateResolvConf(string(host), net.dns())
	if now, err := os.ReadFile(c.private(resolvConf)); err == nil && bytes.Equal(now, data) {
		return nil
	}
	return os.WriteFile(c.private(resolvConf), data, 0o644) // in place: it may be mounted
}

// privateResolvConf is the host's resolv.conf with slirp4netns's name server, which
// asks the host's: those may listen where only the host's namespace reaches them.
func privateResolvConf(host string, dns netip.Addr) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "nameserver %s\n", dns)
	for line := range strings.Lines(host) {
		switch fields := strings.Fields(line); {
		case len(fields) > 1 && slices.Contains([]string{"search", "domain", "options"}, fields[0]):
			b.WriteString(strings.Join(fields, " ") + "\n")
		}
	}
	return []byte(b.String())
}

// binds are the private versions of what every dockerd of a machine shares.
func (c *Config) binds() []bind {
	return []bind{
		// The host's registries' certificates are for all engines; the rest of /etc/docker,
		// with the identity (key.json) and the configuration, is not.
		{Source: "/etc/docker/certs.d", Target: filepath.Join(c.private(etcDocker), "certs.d"), Optional: true},
		{Source: c.private(etcDocker), Target: "/etc/docker", Make: true, Optional: true},
		// The sockets of plugins, managed ones too.
		{Source: c.private(runDocker), Target: "/run/docker", Make: true, Optional: true},
		// dockerd uses the host's containerd if its socket is here, and shims put theirs
		// here whatever the exec-root. A directory of the host: with live-restore it must
		// outlive the engine.
		{Source: c.private(runContainerd), Target: "/run/containerd", Make: true},
		// containerd makes directories there that nobody needs.
		{Source: c.private(optContainerd), Target: "/opt/containerd", Make: true, Optional: true},
		{Source: c.private(resolvConf), Target: hostResolvConf, Optional: true},
	}
}

// engineEnv is dockerd's environment: ours without what speaks to clients, or would
// make it use what is the host's.
func (c *Config) engineEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_API_VERSION", "DOCKER_CONTAINERD_ROOT", "PATH", "TMPDIR",
			"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "DBUS_SESSION_BUS_ADDRESS", "OTEL_RESOURCE_ATTRIBUTES":
			return true
		}
		return strings.HasPrefix(name, "DOCKER_TLS") || strings.HasPrefix(name, "DOCKER_CLI_") ||
			strings.HasPrefix(name, "DOCKER_RD_") || strings.HasPrefix(name, "ROOTLESSKIT_")
	})
	return append(env,
		"PATH="+searchPath(),
		"TMPDIR="+c.tempDir(),
		markerEnv+"="+c.UID,
		portproxy.HostNetnsEnv+"="+c.private(hostNetns),
		// dockerd would talk to the host's firewalld.
		"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent")
}

// closeInherited keeps files that this process was started with from its children:
// the shell's pipes would stay open for as long as a container runs.
var closeInherited = sync.OnceValue(func() error { return closeOnExec(3, ^uint(0)) })

// spawn starts the helper and slirp4netns and returns when dockerd runs.
func (l *launch) spawn(ctx context.Context, slirpPath string, args []string, log *os.File) (*Engine, error) {
	c := &l.cfg
	now := l.hier
	if now.v2 != "" {
		now.v1 = nil // there is time for these later, see moveLater
	}
	group2, groups1, err := c.makeCgroups(now)
	if err != nil {
		return nil, err
	}
	p := plan{Enter: l.into != nil, Exec: args, Env: c.engineEnv()}
	exitR, exitW, err := l.exitPipe()
	if err != nil {
		return nil, err
	}
	defer exitR.Close()
	defer exitW.Close()
	files := []*os.File{exitW}
	attr := &syscall.SysProcAttr{Setsid: true}
	if l.into == nil {
		p.Binds, p.Netns, p.Sysctls = c.binds(), c.private(hostNetns), c.sysctls(l.user)
		attr.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWNS
		netns, err := os.Open("/proc/self/ns/net")
		if err != nil {
			return nil, err
		}
		defer netns.Close()
		files = append(files, netns)
	} else {
		namespaces, err := openNamespaces(l.into.id)
		if err != nil {
			return nil, err
		}
		defer closeAll(namespaces)
		files = append(files, namespaces...)
	}
	if group2 != "" {
		// Born in its group it need not be moved, which takes the kernel 10 ms and more; it
		// is moved in the other hierarchies when there is time.
		dir, err := os.Open(group2)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	} else {
		p.Cgroups = groups1
	}
	env := []string{markerEnv + "=" + c.UID}
	h, err := startHelper(files, attr, env, log)
	if attr.UseCgroupFD && (errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.E2BIG)) {
		// Before Linux 5.7 a process can only move.
		attr.UseCgroupFD = false
		p.Cgroups = append(p.Cgroups, group2)
		h, err = startHelper(files, attr, env, log)
	}
	if err != nil {
		return nil, err
	}
	engine := &Engine{cfg: *c, id: h.id, logOffset: l.rec.LogOffset, subnets: l.rec.Subnets, exited: h.exited}
	l.rec.UID, l.rec.Engine = c.UID, h.id

	// The namespace is that of a child which nobody has waited for: the pid is still its.
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", l.nsPID()))
	if err != nil {
		return nil, errors.Join(err, h.abort())
	}
	defer netns.Close()
	l.rec.Netns, l.rec.Mntns = inode(l.nsPID(), "net"), inode(l.nsPID(), "mnt")
	var ready <-chan error // nil where slirp4netns runs already
	if l.into != nil && l.former.Slirp.Alive() {
		engine.slirp = &slirp{id: l.former.Slirp}
	} else if engine.slirp, ready, err = c.startSlirp(slirpPath, netns, exitR, l.rec.Subnets); err != nil {
		return nil, errors.Join(err, h.abort())
	}
	l.rec.Slirp = engine.slirp.id
	if err := c.writeRecord(l.rec); err != nil {
		return nil, errors.Join(err, h.abort())
	}
	if err := h.run(p); err != nil {
		return nil, err
	}
	if ready != nil {
		select {
		case err = <-ready:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
	}
	engine.watch()
	return engine, nil
}

// nsPID is a process in the engine's namespaces before dockerd runs.
func (l *launch) nsPID() int {
	if l.into != nil {
		return l.into.id.PID
	}
	return l.rec.Engine.PID
}

// exitPipe makes the engine's exit pipe, or opens the one it has.
func (l *launch) exitPipe() (r, w *os.File, err error) {
	if l.into == nil {
		return os.Pipe()
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", l.into.id.PID, exitFD)
	if r, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, nil, err
	}
	if w, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	return r, w, nil
}

// openNamespaces opens the network and the mount namespace of a process.
func openNamespaces(id process.ID) ([]*os.File, error) {
	var files []*os.File
	for _, name := range []string{"net", "mnt"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", id.PID, name))
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	if !id.Alive() {
		closeAll(files)
		return nil, process.ErrGone
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func inode(pid int, ns string) uint64 {
	var st unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, ns), &st) != nil {
		return 0
	}
	return st.Ino
}

// A helper is a started helper process that waits for its plan.
type helper struct {
	id     process.ID
	cmd    *exec.Cmd
	plan   *os.File
	report *os.File
	exited chan struct{}
}

// startHelper starts this program as the helper, with files from pipeFD on.
func startHelper(files []*os.File, attr *syscall.SysProcAttr, env []string, log *os.File) (*helper, error) {
	planR, planW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer planR.Close()
	reportR, reportW, err := os.Pipe()
	if err != nil {
		_ = planW.Close()
		return nil, err
	}
	defer reportW.Close()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{"docker-rd", initArg},
		Env:         env,
		ExtraFiles:  append([]*os.File{planR, reportW}, files...),
		SysProcAttr: attr,
	}
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	if err := cmd.Start(); err != nil {
		_ = planW.Close()
		_ = reportR.Close()
		return nil, fmt.Errorf("start the engine's helper: %w", err)
	}
	h := &helper{cmd: cmd, plan: planW, report: reportR, exited: make(chan struct{})}
	h.id, err = process.Find(cmd.Process.Pid)
	go func() { _ = cmd.Wait(); close(h.exited) }()
	if err != nil {
		return nil, errors.Join(err, h.abort())
	}
	return h, nil
}

// abort ends a helper that gets no plan.
func (h *helper) abort() error {
	_ = h.plan.Close()
	_ = h.report.Close()
	err := h.cmd.Process.Kill()
	<-h.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// run gives the helper its plan and returns when it has become what it is to become,
// or has ended.
func (h *helper) run(p plan) error {
	defer h.report.Close()
	err := json.NewEncoder(h.plan).Encode(p)
	_ = h.plan.Close()
	report, readErr := io.ReadAll(h.report)
	switch {
	case len(report) > 0:
		return errors.New(string(report))
	case err != nil:
		return fmt.Errorf("plan: %w", err)
	}
	return readErr
}

// hostRoutes returns the destinations of all IPv4 routes in the network namespace of
// the process, in all tables.
func hostRoutes() ([]netip.Prefix, error) {
	data, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_INET)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	var routes []netip.Prefix
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWROUTE || len(m.Data) < syscall.SizeofRtMsg {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			continue
		}
		// struct rtmsg: family, dst_len, src_len, tos, table, …
		bits := int(m.Data[1])
		for _, a := range attrs {
			if a.Attr.Type != syscall.RTA_DST || len(a.Value) != 4 {
				continue
			}
			routes = append(routes, netip.PrefixFrom(netip.AddrFrom4([4]byte(a.Value)), bits).Masked())
		}
	}
	return routes, nil
}
