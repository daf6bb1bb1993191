package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Start starts the engine and returns when its process runs; it may not answer yet. It first
// ends and removes the leftovers of a former engine; a containerd, and dockerd with live-restore,
// return to the containers that still run. If the engine runs already, the error is
// [processes.ErrRunning].
//
// After an error, or if ctx ends first, nothing is left. Afterwards ctx has no effect: the
// engine ends by [Engine.Stop], not with the calling process. All files of the caller must be
// close-on-exec, or the engine's processes would keep them open.
func (c *Config) Start(ctx context.Context) (processes.Running, error) {
	c = c.current()
	user, err := c.program().options()
	if err != nil {
		return nil, err
	}
	l := &launch{cfg: *c, user: user, former: c.readEngineFile()}
	if l.hier, err = c.mode().hierarchies(); err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	if err := l.clear(ctx); err != nil {
		return nil, err
	}
	if c.rootless() {
		l.cfg.scopes, _ = findDelegation()
	}
	engine, err := l.start(ctx)
	if _, ok := errors.AsType[*delegationError](err); ok && c.limits() == (Limits{}) {
		c.Log.WarnContext(ctx, "containers have no limits", "error", err)
		l.cfg.scopes = nil
		engine, err = l.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.cleanup(context.WithoutCancel(ctx), nil))
	}
	return engine, nil
}

// current returns a copy with the limits that are set now: they may have changed since the supervisor was
// started.
func (c *Config) current() *Config {
	config, inst := *c, *c.Instance
	if now, err := instance.LoadDir(c.Paths.State); err == nil && now.UID == c.UID {
		inst.Settings.Memory, inst.Settings.NanoCPUs, inst.Settings.PidsLimit = now.Settings.Memory, now.Settings.NanoCPUs, now.Settings.PidsLimit
	}
	config.Instance = &inst
	return &config
}

// A launch is one start of an engine.
type launch struct {
	cfg    Config
	user   *daemonOptions
	hier   processes.Hierarchies
	former engineFile
	rec    engineFile
	rules  *namespaces.Rules
	into   *processes.Proc // a process whose namespaces the daemon enters; nil: new ones
	slirp  process.ID      // the one that runs
}

// clear ends the leftovers of a former engine, and decides whether to enter its namespaces.
func (l *launch) clear(ctx context.Context) error {
	f := &processes.Found{}
	if !l.cfg.neverRan() {
		var err error
		if f, err = l.cfg.processes().Scan(l.hier); err != nil {
			return err
		}
	}
	squatter := l.cfg.squatter(f)
	switch {
	case squatter != nil:
		return failure.WithHint(failure.Refuse("%q and %q are used by the engine of another instance: %s", l.cfg.Paths.Data, l.cfg.Paths.Exec(), squatter.ID),
			"end it first, if its instance is gone: `kill %d`", squatter.ID.PID)
	case f.Daemon != nil, l.former.Engine.Alive() && l.cfg.runs(l.former.Engine):
		return processes.ErrRunning
	case len(f.Shims) > 0 && l.cfg.program().rejoins(l.user):
		// In new namespaces the daemon would find the containers but not their networks.
		l.into, l.slirp = &f.Shims[0], among(f.Procs, slirp.is)
		if err := l.endCompanions(ctx, f.Procs); err != nil {
			return err
		}
		return l.makeWay()
	case len(f.Procs) > 0:
		if _, err := l.cfg.processes().End(ctx, l.hier, nil); err != nil {
			return err
		}
	}
	return l.cfg.removeLeftovers()
}

// endCompanions kills what the new daemon starts again. A containerd that is just ending would be
// taken for a running one.
func (l *launch) endCompanions(ctx context.Context, procs []processes.Proc) error {
	for _, p := range procs {
		if p.Marked && (p.Comm == "containerd" || p.Comm == portproxy.Name && !l.outlives(p)) {
			_ = p.ID.Signal(syscall.SIGKILL)
			if err := p.ID.Wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeWay removes the files of a former daemon that would disturb a new one in its namespaces.
func (l *launch) makeWay() error {
	var errs []error
	if !l.cfg.isContainerd() { // no proxy runs either
		errs = append(errs, RemoveTree(l.cfg.private(portsDir)))
	}
	// No dockerd and no containerd runs. Their pid files would keep new ones from
	// starting if another process had the number by now, even a zombie.
	return errors.Join(append(errs, removeFile(l.cfg.pidFile()), removeFile(filepath.Join(l.cfg.Paths.Exec(), "containerd", "containerd.pid")))...)
}

// outlives reports whether a proxy goes on with the containers: dockerd starts it again, a
// containerd knows nothing of it.
func (l *launch) outlives(p processes.Proc) bool {
	return l.cfg.isContainerd() && !processes.HasArgument(p.ID.PID, portproxy.RelayArg)
}

func (c *Config) pidFile() string { return filepath.Join(c.Paths.Exec(), "docker.pid") }

// tempDir is where containerd dumps its stacks when dockerd kills it. dockerd's own temporary
// files are below the data.
func (c *Config) tempDir() string { return filepath.Join(c.Paths.Exec(), "tmp") }

func (l *launch) start(ctx context.Context) (*Engine, error) {
	c := &l.cfg
	program, err := c.find(c.program().comm)
	if err != nil {
		return nil, err
	}
	if l.rec.Subnets = l.former.Subnets; l.into == nil || !l.rec.Subnets.Slirp.IsValid() {
		if l.rec.Subnets, err = l.chooseSubnets(); err != nil {
			return nil, err
		}
	}
	l.rec.Localhost = c.Settings.Localhost
	l.rules = namespaces.NewRules(l.rec.Subnets, namespaces.HostAddress(), l.rec.Localhost)
	args, err := l.prepare(program)
	if err != nil {
		return nil, err
	}
	log, err := logfile.Open(c.Paths.EngineLog())
	if err != nil {
		return nil, fmt.Errorf("engine log: %w", err)
	}
	defer log.Close()
	if l.rec.LogOffset, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("engine log: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.spawn(ctx, args, log)
}

// prepare makes directories and files, and returns the daemon's command line.
func (l *launch) prepare(program string) ([]string, error) {
	c := &l.cfg
	for _, dir := range append(c.program().dirs, c.Paths.Data, c.tempDir(), filepath.Dir(c.Socket()), filepath.Dir(c.Paths.EngineLog()),
		c.private(runDocker), c.private(runContainerd), c.private(optContainerd), c.private(staging), c.private(portsDir)) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := c.writeResolvConf(l.rec.Subnets); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.private(proxyPlace), nil, 0o600); err != nil {
		return nil, err
	}
	args, err := c.program().prepare(l)
	return append([]string{program}, args...), err
}

// hostGateway is what host-gateway means in docker run --add-host NAME:host-gateway. dockerd
// would take its bridge's address, which is not the host's here.
func (l *launch) hostGateway() netip.Addr {
	if l.rules.IPTables != "" {
		return l.rules.Gateway // leads to the host's own address as that changes
	}
	return l.rules.Host
}

// engineEnv is the daemon's environment: ours without variables for clients, and without those
// that would make it use something of the host's, or images of another storage driver than the shell before.
func (c *Config) engineEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "DOCKER_CONFIG", "DOCKER_CONTAINERD_ROOT", "DOCKER_DRIVER", "PATH", "TMPDIR",
			"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "DBUS_SESSION_BUS_ADDRESS", "OTEL_RESOURCE_ATTRIBUTES":
			return true
		}
		return slices.Contains(endpoint.Variables, name) || strings.HasPrefix(name, "DOCKER_TLS") || strings.HasPrefix(name, "DOCKER_CLI_") ||
			strings.HasPrefix(name, "DOCKER_RD_") || strings.HasPrefix(name, "ROOTLESSKIT_")
	})
	env = append(env,
		"TMPDIR="+c.tempDir(),
		processes.MarkerEnv+"="+c.UID,
		portproxy.PortsEnv+"="+c.private(portsDir),
		portproxy.BrokerEnv+"="+c.brokerSocket(),
		// dockerd would talk to the host's firewalld.
		"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent")
	return append(env, c.mode().env()...)
}

// spawn starts the helper and slirp4netns and returns when dockerd runs.
func (l *launch) spawn(ctx context.Context, args []string, log *os.File) (*Engine, error) {
	c := &l.cfg
	var into *process.ID
	if l.into != nil {
		into = &l.into.ID
	}
	exitR, exitW, err := namespaces.ExitPipe(into)
	if err != nil {
		return nil, err
	}
	defer exitR.Close()
	defer exitW.Close()
	launch, err := l.plan(args)
	if err != nil {
		return nil, err
	}
	relay := c.relay(l.rules)
	broker, err := relay.Listen() // before dockerd runs, which connects to it
	if err != nil {
		return nil, err
	}
	defer namespaces.CloseAll(broker)
	launch.Into, launch.Exit, launch.Log = into, exitW, log
	h, err := launch.Start()
	if err != nil {
		return nil, err
	}
	l.rec.UID, l.rec.Engine = c.UID, h.ID
	slirpReady, err := l.surround(ctx, launch, exitR)
	if err != nil {
		return nil, errors.Join(err, h.Abort())
	}
	if err := h.Run(ctx, launch.Plan); err != nil {
		return nil, err
	}
	defer namespaces.CloseAll(h.Sockets)
	relayID, err := c.namespaces().StartRelay(h.ID, relay, h.Sockets, broker, exitR)
	if err == nil {
		err = l.finish(ctx, slirpReady)
	}
	if err != nil {
		return nil, l.explain(ctx, h, err)
	}
	engine := &Engine{cfg: *c, rec: l.rec, exited: h.Exited, endedBy: h.EndedBy, host: l.rules.Host}
	engine.watch([]process.ID{l.slirp, relayID})
	return engine, nil
}

// plan returns what the helper makes, and the daemon that it becomes.
func (l *launch) plan(args []string) (*namespaces.Launch, error) {
	c := &l.cfg
	launch := &namespaces.Launch{
		Processes: c.processes(), Hierarchies: l.hier,
		Plan: namespaces.Plan{
			Run: c.run(), Binds: c.binds(), Sysctls: c.sysctls(l.user), Rules: l.rules, Sockets: true,
			IPv6: l.rec.Subnets.IPv6,
			Exec: args, Env: c.engineEnv(),
		},
	}
	if c.isContainerd() {
		launch.EnvFile = c.plugin() + portproxy.PluginEnvSuffix
	}
	return launch, c.mode().complete(launch)
}

// surround makes everything that the daemon needs around it. SlirpReady comes from [launch.connect].
func (l *launch) surround(ctx context.Context, plan *namespaces.Launch, exit *os.File) (slirpReady <-chan error, err error) {
	c := &l.cfg
	if c.scopes != nil {
		if plan.User.Group, err = (userMode{c}).delegate(l.rec.Engine.PID); err != nil {
			return nil, err
		}
	}
	if slirpReady, err = l.connect(exit); err != nil {
		return nil, err
	}
	if err := c.writeEngineFile(l.rec); err != nil {
		return nil, err
	}
	if c.rootless() {
		return slirpReady, nil
	}
	return slirpReady, namespaces.MakeHostDirs(ctx, c.program().hostDirs)
}

// finish does what is left to do when the daemon runs.
func (l *launch) finish(ctx context.Context, slirpReady <-chan error) error {
	if err := l.cfg.mode().limit(); err != nil { // no container runs yet
		return err
	}
	select {
	case err := <-slirpReady:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// explain returns the engine's own last words in place of err if it has ended, which is then why
// something failed.
func (l *launch) explain(ctx context.Context, h *namespaces.Helper, err error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-h.Exited:
	case <-time.After(dyingTime):
		return err
	}
	if words := l.cfg.lastWords(h.EndedBy, l.rec.LogOffset); words != "" {
		return errors.New(words)
	}
	return err
}

// dyingTime is how long a process may be without its files, as one that ends is, before it has ended.
const dyingTime = time.Second

// connect starts slirp4netns, unless that of the namespaces which dockerd enters still runs. Ready
// gets nil when it can be used, or why it can't.
func (l *launch) connect(exit *os.File) (ready <-chan error, err error) {
	of := l.rec.Engine // the helper waits for its plan, so it has not ended
	if l.into != nil {
		if of = l.into.ID; l.slirp != (process.ID{}) {
			runs := make(chan error)
			close(runs)
			return runs, nil
		}
	}
	l.slirp, ready, err = l.cfg.namespaces().StartSlirp(of, exit, l.rec.Subnets)
	return ready, err
}
