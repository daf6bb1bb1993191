package isolated

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
)

// A program is the daemon that an engine consists of: dockerd or containerd.
type program struct {
	comm      string            // its command name
	tools     []tool            // the programs that it takes besides those of every engine
	maxSocket int               // how long the socket's path may be
	own       map[string]string // the directories that no other engine may have, by their arguments
	dirs      []string          // are made for it
	hostDirs  []string          // are made on the host for binds to be mounted on
	copyUp    []string          // those of the host that an ordinary user gets writable ones of for that
	binds     []namespaces.Bind
	hide      []string // the entries of the host's /run that it does not see

	// options reads and checks what the user asks of it.
	options func() (*daemonOptions, error)
	// prepare makes its files and returns its arguments.
	prepare func(l *launch) ([]string, error)
	// stopContainers stops what the daemon does not stop itself when it ends, or has it do so,
	// and returns the ids of those that had to be killed.
	stopContainers func(ctx context.Context, e *Engine) (killed []string)
	// rejoins reports whether the daemon returns to containers that have outlived another.
	rejoins func(user *daemonOptions) bool
	// container returns the id of the container for which a shim was started.
	container func(shim int) string
}

func (c *Config) program() program {
	if c.isContainerd() {
		return c.containerd()
	}
	return c.dockerd()
}

// squats reports whether another engine's process has this one's directories.
func (p program) squats(other processes.Proc) bool {
	if other.Comm != p.comm {
		return false
	}
	for argument, dir := range p.own {
		if processes.Argument(other.ID.PID, argument) == dir && sees(other.ID.PID, dir) {
			return true
		}
	}
	return false
}

// sees reports whether a path leads another process to the same directory, or to where that would be
// made: in a container it leads elsewhere. It is true where that can't be determined.
func sees(pid int, path string) bool {
	path = nearest(path)
	here, err := os.Stat(path)
	there, thereErr := os.Stat(namespaces.Inside(pid, path))
	if errors.Join(err, thereErr) != nil {
		return !errors.Is(thereErr, os.ErrNotExist)
	}
	return os.SameFile(here, there)
}

// commDockerd is the name of dockerd's process.
const commDockerd = "dockerd"

// dockerd is the program of an engine that is no containerd.
func (c *Config) dockerd() program {
	certificates := filepath.Join(c.private(etcDocker), "certs.d")
	return program{
		comm:      commDockerd,
		tools:     []tool{{commDockerd, "docker.io"}},
		maxSocket: maxSocket,
		own:       map[string]string{"--data-root": c.Paths.Data, "--exec-root": c.Paths.Exec()},
		dirs:      []string{certificates},
		hostDirs:  hostDirs,
		copyUp:    []string{"/etc"},
		binds: []namespaces.Bind{
			// The host's registries' certificates are for all engines; the rest of /etc/docker,
			// with the identity (key.json) and the configuration, is not.
			{Source: c.certificates(), Target: certificates, Optional: true},
			{Source: c.private(etcDocker), Target: "/etc/docker", Optional: true},
			// The sockets of plugins, managed ones too.
			{Source: c.private(runDocker), Target: "/run/docker"},
		},
		options: func() (*daemonOptions, error) {
			return readDaemonOptions(c.Settings.EngineArgs, c.Settings.DaemonConfig)
		},
		prepare: c.prepareDockerd,
		stopContainers: func(ctx context.Context, e *Engine) []string {
			if err := e.endLiveRestore(ctx); err != nil {
				c.Log.WarnContext(ctx, "live-restore is not ended: dockerd leaves its containers, and they are killed", "error", err)
			}
			return nil
		},
		rejoins:   (*daemonOptions).liveRestore,
		container: processes.ShimContainer,
	}
}

// prepareDockerd writes the configuration of a dockerd and returns its arguments.
func (c *Config) prepareDockerd(l *launch) ([]string, error) {
	config, userArgs, err := l.user.merged(l.rec.Subnets)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.private(daemonJSON), config, 0o600); err != nil {
		return nil, err
	}
	args := []string{
		"--config-file", c.private(daemonJSON),
		"--host", "unix://" + c.Socket(),
		// In the engine's own /run, by its name: what docker run -v /var/run/docker.sock:… mounts is the
		// engine that runs the container, whatever the host has there.
		"--host", "unix://" + dockerSock,
		"--data-root", c.Paths.Data,
		"--exec-root", c.Paths.Exec(),
		"--pidfile", c.pidFile(),
		"--userland-proxy-path", c.private(proxyPlace),
	}
	if host := l.hostGateway(); host.IsValid() && !l.user.has("host-gateway-ip", "host-gateway-ips") {
		args = append(args, "--host-gateway-ip", host.String())
	}
	return slices.Concat(args, c.mode().args(l.user), userArgs), nil
}
