package dockerd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Alive tells whether the engine runs. It is cheap and changes nothing.
func Alive(cfg Config) bool {
	if cfg.readRecord().Engine.Alive() {
		return true
	}
	// The record may be lost.
	return slices.ContainsFunc(cfg.grouped(processes.DaemonGroup), func(s process.Stat) bool { return s.Comm == commDockerd })
}

// Remains tells whether anything of the engine runs, be it only what a crash has left of
// it. It is cheap and changes nothing.
func Remains(cfg Config) bool { return len(cfg.grouped("")) > 0 }

// grouped returns the processes in the engine's cgroups, or only in a subgroup.
func (c *Config) grouped(sub string) []process.Stat {
	if c.neverRan() {
		return nil
	}
	h, err := processes.FindHierarchies()
	if err != nil {
		return nil
	}
	var stats []process.Stat
	for _, dir := range c.processes().Groups(h) {
		for _, pid := range processes.Members(filepath.Join(dir, sub)) {
			if s, err := process.ReadStat(pid); err == nil && !s.Ended() {
				stats = append(stats, s)
			}
		}
	}
	return stats
}

// neverRan tells whether there was never an engine: it would have left its state, its data
// or its runtime directory, unless somebody removed them. That saves the first start a look at every process
// of the machine.
func (c *Config) neverRan() bool {
	if exists(c.StateDir) || exists(c.ExecRoot) {
		return false
	}
	data, err := os.ReadDir(c.DataRoot)
	return len(data) == 0 && (err == nil || errors.Is(err, os.ErrNotExist))
}

// commDockerd is the name of dockerd's process.
const commDockerd = "dockerd"

// processes says whose processes are the engine's.
func (c *Config) processes() processes.Engine {
	return processes.Engine{UID: c.UID, Daemon: commDockerd}
}

// namespaces says for whom namespaces are made.
func (c *Config) namespaces() namespaces.Engine {
	return namespaces.Engine{UID: c.UID, SlirpLog: c.private("slirp4netns.log")}
}

// squatter returns the dockerd that has the engine's data or runtime directory although it
// is another engine's: of an instance whose files were removed by hand, or one under
// another home.
func (c *Config) squatter(f *processes.Found) *processes.Proc {
	for i, p := range f.Others {
		if processes.Argument(p.ID.PID, "--data-root") == c.DataRoot || processes.Argument(p.ID.PID, "--exec-root") == c.ExecRoot {
			return &f.Others[i]
		}
	}
	return nil
}
