// Package lima runs a dockerd in a virtual machine, by the program limactl of the Lima project.
//
// Each instance has a LIMA_HOME of its own, with one machine in it. limactl and all that it starts,
// Lima's host agent and the machine, inherit a lock: as long as that is held, something of the
// machine runs. Pid files, by which limactl knows it, are wrong after a reboot.
package lima

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
)

// machine is the name of the machine in its LIMA_HOME. It is short, see [maxSocket].
const machine = "rd"

// defaultTemplate is Lima's own, with Docker in a current Ubuntu.
const defaultTemplate = "template:docker-rootful"

// A Config says how an instance's machine is run.
type Config struct {
	Name       string       // of the instance
	Home       string       // LIMA_HOME
	StateDir   string       // what must be known after a crash
	EngineFile string       // the record of the running machine
	LogPath    string       // what limactl prints
	Socket     string       // the local one, which leads to the machine's
	Template   string       // a path, a name or a URL; "" is defaultTemplate
	CPUs       int          // 0: Lima's default
	Memory     int64        // in bytes; 0: Lima's default
	Disk       int64        // in bytes; 0: Lima's default
	Log        *slog.Logger // must not be nil, but for SSH
}

func (c *Config) dir(file string) string { return filepath.Join(c.Home, machine, file) }

// lock is the path of the lock that everything of the machine holds.
func (c *Config) lock() string { return filepath.Join(c.StateDir, "machine.lock") }

// SSH returns the arguments by which ssh logs in to the machine.
func (c *Config) SSH() []string { return []string{"-F", c.dir("ssh.config"), "lima-" + machine} }

// engine is how dockerd in the machine is reached: by Lima's connection, which saves the login, as
// long as that works. It may be dead after the host has slept.
func (c *Config) engine() endpoint.Endpoint {
	return endpoint.Endpoint{Host: "ssh://lima-" + machine, SSHConfig: c.dir("ssh.config")}
}

// A record is what is known of the running machine, in the engine file.
type record struct {
	Engine    process.ID `json:"engine"`    // the machine itself
	HostAgent process.ID `json:"hostAgent"` // may be the same process
	Launch    process.ID `json:"launch"`    // the limactl that starts it
}

func (c *Config) read() (r record) {
	_ = files.ReadJSON(c.EngineFile, &r)
	return r
}

func (c *Config) write(r record) error {
	if err := os.MkdirAll(filepath.Dir(c.EngineFile), 0o700); err != nil {
		return err
	}
	return files.ReplaceJSON(c.EngineFile, r)
}

// Life returns how much of the machine runs.
func (c *Config) Life() processes.Life {
	if c.read().Engine.Alive() {
		return processes.Alive
	}
	if held, err := lock.Held(c.lock()); err == nil && !held {
		return processes.Gone
	}
	return processes.Leftovers
}
