package isolated

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
)

// A program is the daemon that an engine consists of: dockerd or containerd.
type program interface {
	// comm is its command name, and tools are what it takes besides.
	comm() string
	tools() []tool
	// options reads and checks what the user asks of it.
	options() (*daemonOptions, error)
	// maxSocket is how long the socket's path may be.
	maxSocket() int
	// squats reports whether another engine's process has this one's directories.
	squats(p processes.Proc) bool
	// dirs are made for it, hostDirs on the host for binds to be mounted on, copyUp are
	// those of the host that an ordinary user gets writable ones of for that.
	dirs() []string
	hostDirs() []string
	copyUp() []string
	binds() []namespaces.Bind
	// hide are the entries of the host's /run that it does not see.
	hide() []string
	// prepare makes its files and returns its arguments.
	prepare(l *launch) ([]string, error)
	// stopContainers stops what the daemon does not stop itself when it ends, or has it do so,
	// and returns the ids of those that had to be killed.
	stopContainers(ctx context.Context, e *Engine) (killed []string)
	// rejoins reports whether the daemon returns to containers that have outlived another.
	rejoins(user *daemonOptions) bool
	// containers returns the ids of the containers that run, of what was found of a daemon
	// that has ended.
	containers(f *processes.Found) []string
}

func (c *Config) program() program {
	if c.Containerd {
		return containerdProgram{c}
	}
	return dockerdProgram{c}
}

// commDockerd is the name of dockerd's process.
const commDockerd = "dockerd"

// dockerdProgram is dockerd.
type dockerdProgram struct{ *Config }

func (dockerdProgram) comm() string { return commDockerd }

func (dockerdProgram) tools() []tool { return []tool{{commDockerd, "docker.io"}} }

func (p dockerdProgram) options() (*daemonOptions, error) {
	return readDaemonOptions(p.Args, p.ConfigFile)
}

func (dockerdProgram) maxSocket() int { return MaxSocket }

func (p dockerdProgram) squats(other processes.Proc) bool {
	return other.Comm == commDockerd &&
		(processes.Argument(other.ID.PID, "--data-root") == p.DataRoot || processes.Argument(other.ID.PID, "--exec-root") == p.ExecRoot)
}

func (p dockerdProgram) dirs() []string {
	return []string{filepath.Join(p.private(etcDocker), "certs.d")}
}

func (dockerdProgram) hostDirs() []string { return hostDirs }

func (dockerdProgram) copyUp() []string { return []string{"/etc"} }

func (p dockerdProgram) binds() []namespaces.Bind {
	return []namespaces.Bind{
		// The host's registries' certificates are for all engines; the rest of /etc/docker,
		// with the identity (key.json) and the configuration, is not.
		{Source: p.certificates(), Target: filepath.Join(p.private(etcDocker), "certs.d"), Optional: true},
		{Source: p.private(etcDocker), Target: "/etc/docker", Optional: true},
		// The sockets of plugins, managed ones too.
		{Source: p.private(runDocker), Target: "/run/docker"},
	}
}

func (dockerdProgram) hide() []string { return nil }

func (p dockerdProgram) prepare(l *launch) ([]string, error) {
	config, userArgs, err := l.user.merged(l.rec.Subnets)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.private(daemonJSON), config, 0o600); err != nil {
		return nil, err
	}
	args := []string{
		"--config-file", p.private(daemonJSON),
		"--host", "unix://" + p.Socket,
		// In the engine's own /run, by its name: what docker run -v /var/run/docker.sock:… mounts is the
		// engine that runs the container, whatever the host has there.
		"--host", "unix://" + dockerSock,
		"--data-root", p.DataRoot,
		"--exec-root", p.ExecRoot,
		"--pidfile", p.pidFile(),
		"--userland-proxy-path", p.private(proxyPlace),
	}
	if host := l.hostGateway(); host.IsValid() && !l.user.has("host-gateway-ip", "host-gateway-ips") {
		args = append(args, "--host-gateway-ip", host.String())
	}
	return slices.Concat(args, p.mode().args(l.user), userArgs), nil
}

func (dockerdProgram) stopContainers(ctx context.Context, e *Engine) []string {
	if err := e.endLiveRestore(ctx); err != nil {
		e.cfg.log().WarnContext(ctx, "live-restore is not ended: dockerd leaves its containers, and they are killed", "error", err)
	}
	return nil
}

func (dockerdProgram) rejoins(user *daemonOptions) bool { return user.liveRestore() }

func (dockerdProgram) containers(f *processes.Found) []string {
	return f.Containers(processes.ShimContainer)
}
