package dockerd

import (
	"path/filepath"
	"slices"

	"github.com/docker-rd/docker-rd/internal/process"
)

// Alive tells whether the engine runs. It is cheap and changes nothing.
func Alive(cfg Config) bool {
	if cfg.readRecord().Engine.Alive() {
		return true
	}
	// The record may be lost.
	return slices.ContainsFunc(cfg.grouped(engineCgroup), func(s process.Stat) bool { return s.Comm == commDockerd })
}

// Remains tells whether anything of the engine runs, be it only what a crash has left of
// it. It is cheap and changes nothing.
func Remains(cfg Config) bool { return len(cfg.grouped("")) > 0 }

// grouped returns the processes in the engine's cgroups, or only in a subgroup.
func (c *Config) grouped(sub string) []process.Stat {
	if c.neverRan() {
		return nil
	}
	h, err := findHierarchies()
	if err != nil {
		return nil
	}
	var stats []process.Stat
	for _, dir := range c.groups(h) {
		for _, pid := range members(filepath.Join(dir, sub)) {
			if s, err := process.ReadStat(pid); err == nil && !s.Ended() {
				stats = append(stats, s)
			}
		}
	}
	return stats
}
