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
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
)

// machine is the name of the machine in its LIMA_HOME. It is short, see [maxSocket].
const machine = "rd"

// defaultTemplate is Lima's own, with Docker in a current Ubuntu.
const defaultTemplate = "template:docker-rootful"

// A Config is an instance, and where its driver logs to, which is not nil.
type Config struct {
	*instance.Instance
	Log *slog.Logger
}

func (c *Config) dir(file string) string { return filepath.Join(c.Paths.Data, machine, file) }

// lock is the path of the lock that everything of the machine holds.
func (c *Config) lock() string { return filepath.Join(c.Paths.EngineState(), "machine.lock") }

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
	_ = files.ReadJSON(c.Paths.EngineFile(), &r)
	return r
}

func (c *Config) write(r record) error {
	if err := os.MkdirAll(filepath.Dir(c.Paths.EngineFile()), 0o700); err != nil {
		return err
	}
	return files.ReplaceJSON(c.Paths.EngineFile(), r)
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
