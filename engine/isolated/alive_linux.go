package isolated

import (
	"errors"
	"os"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Life returns how much of the engine runs. It is cheap and changes nothing.
func (c *Config) Life() processes.Life {
	if c.readEngineFile().Engine.Alive() {
		return processes.Alive
	}
	// The record may be lost. An engine has a runtime directory, and root's control groups, until it
	// is cleaned up: processes are looked for only where there are some.
	h, err := c.mode().hierarchies()
	if err != nil || !files.Exists(c.Paths.Exec()) && len(c.processes().Groups(h)) == 0 {
		return processes.Gone
	}
	f, err := c.processes().Scan(h)
	switch {
	case err != nil || len(f.Procs) == 0:
		return processes.Gone
	case f.Daemon != nil:
		return processes.Alive
	}
	return processes.Leftovers
}

// runs reports whether the engine's process is the daemon, and no helper, which ends by itself without a plan.
// A daemon that a script of the user's runs may have any name.
func (c *Config) runs(engine process.ID) bool {
	stat, err := process.ReadStat(engine.PID)
	return err == nil && (stat.Comm == c.processes().Daemon || !namespaces.IsHelper(engine.PID))
}

// neverRan reports whether there was never an engine: it would have left its state, its data
// or its runtime directory. That saves the first start a scan of all processes.
func (c *Config) neverRan() bool {
	if files.Exists(c.Paths.EngineState()) || files.Exists(c.Paths.Exec()) {
		return false
	}
	data, err := os.ReadDir(c.Paths.Data)
	return len(data) == 0 && (err == nil || errors.Is(err, os.ErrNotExist))
}

// processes says whose processes are the engine's.
func (c *Config) processes() processes.Engine {
	daemon := c.program().comm
	if c.rootless() {
		daemon = namespaces.CommInit // which starts the daemon
	}
	return processes.Engine{UID: c.UID, Daemon: daemon}
}

// namespaces says for whom namespaces are made.
func (c *Config) namespaces() namespaces.Engine {
	return namespaces.Engine{UID: c.UID, User: c.rootless(), SlirpLog: c.private("slirp4netns.log")}
}

// squatter returns another engine's daemon that uses this engine's data or runtime directory:
// of an instance whose files were removed by hand, or under another home.
func (c *Config) squatter(f *processes.Found) *processes.Proc {
	for i, p := range f.Others {
		if c.program().squats(p) {
			return &f.Others[i]
		}
	}
	return nil
}
