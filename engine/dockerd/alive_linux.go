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

// Alive reports whether the engine runs. It is cheap and changes nothing.
func Alive(cfg Config) bool {
	if cfg.readRecord().Engine.Alive() {
		return true
	}
	// The record may be lost.
	return slices.ContainsFunc(cfg.mode().remains(), func(r remnant) bool { return r.daemon })
}

// Remains reports whether anything of the engine runs, be it only what a crash has left of
// it. It is cheap and changes nothing.
func Remains(cfg Config) bool { return len(cfg.mode().remains()) > 0 }

// A remnant is a process of the engine; daemon says that it is the one that makes it run.
type remnant struct{ daemon bool }

// remains implements [mode]: an engine of root's has control groups.
func (m rootMode) remains() (found []remnant) {
	if m.neverRan() {
		return nil
	}
	h, err := processes.FindHierarchies()
	if err != nil {
		return nil
	}
	for _, dir := range m.processes().Groups(h) {
		own := processes.Members(filepath.Join(dir, processes.DaemonGroup))
		for _, pid := range processes.Members(dir) {
			if s, err := process.ReadStat(pid); err == nil && !s.Ended() {
				found = append(found, remnant{daemon: s.Comm == commDockerd && slices.Contains(own, pid)})
			}
		}
	}
	return found
}

// remains implements [mode]: an engine of a user's has left its runtime directory, unless
// it was cleaned up, and only then are processes looked for.
func (m userMode) remains() (found []remnant) {
	if !exists(m.ExecRoot) {
		return nil
	}
	f, err := m.processes().Scan(processes.Hierarchies{})
	if err != nil {
		return nil
	}
	for _, p := range f.Procs {
		found = append(found, remnant{daemon: f.Daemon != nil && p.ID == f.Daemon.ID})
	}
	return found
}

// neverRan reports whether there was never an engine: it would have left its state, its data
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
	return processes.Engine{UID: c.UID, Daemon: c.mode().daemon()}
}

// namespaces says for whom namespaces are made.
func (c *Config) namespaces() namespaces.Engine {
	return namespaces.Engine{UID: c.UID, User: c.Rootless, SlirpLog: c.private("slirp4netns.log")}
}

// squatter returns the dockerd that has the engine's data or runtime directory although it
// is another engine's: of an instance whose files were removed by hand, or one under
// another home.
func (c *Config) squatter(f *processes.Found) *processes.Proc {
	for i, p := range f.Others {
		if p.Comm == commDockerd &&
			(processes.Argument(p.ID.PID, "--data-root") == c.DataRoot || processes.Argument(p.ID.PID, "--exec-root") == c.ExecRoot) {
			return &f.Others[i]
		}
	}
	return nil
}
