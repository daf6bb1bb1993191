package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/mounts"
)

// Cleanup kills every process of the engine and removes its leftovers, with or without a
// record and whatever was killed before. It returns the ids of the containers that ran. The
// engine's data, its private configuration and its log stay. Nothing to do is no error. When ctx
// ends, the error says what is left.
func (c *Config) Cleanup(ctx context.Context) (killed []string, err error) {
	killed = c.containers()
	return killed, c.cleanup(ctx, nil)
}

// containers returns the ids of the containers that run of an engine that has ended.
func (c *Config) containers() []string { return c.scan().Containers(c.program().container) }

// scan returns what runs of the engine, as far as that can be found.
func (c *Config) scan() *processes.Found {
	h, err := c.mode().hierarchies()
	if err == nil {
		if f, err := c.processes().Scan(h); err == nil {
			return f
		}
	}
	return &processes.Found{}
}

// cleanup is [Config.Cleanup] with cgroups of containers that are known.
func (c *Config) cleanup(ctx context.Context, known []string) error {
	h, err := c.mode().hierarchies()
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	left, err := c.processes().End(ctx, h, known)
	if err != nil || c.squatter(left) != nil { // the files are that engine's
		return err
	}
	err = c.removeLeftovers()
	if !c.rootless() {
		err = errors.Join(err, namespaces.RemoveHostDirs(ctx, slices.Concat(hostDirs, containerdHostDirs)))
	}
	return err
}

// removeLeftovers removes the files of an engine that has ended.
func (c *Config) removeLeftovers() error {
	return errors.Join(
		removeFile(c.Socket()),
		RemoveTree(c.Paths.Exec()),
		RemoveTree(c.private(runDocker)),
		RemoveTree(c.private(runContainerd)),
		RemoveTree(c.private(portsDir)),
		removeFile(c.Paths.EngineFile()))
}

// RemoveData removes what nobody else can of an engine that has ended: an ordinary user's data, with
// the files that containers have made as other users, or root's control groups. Those without a process
// are left where a supervisor was killed at the begin of a start.
func (c *Config) RemoveData() error {
	if c.rootless() {
		return failure.WithHint(RemoveTree(c.Paths.Data), "`sudo rm -rf %s`", c.Paths.Data)
	}
	h, err := processes.FindHierarchies()
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	var errs []error
	for _, dir := range c.processes().Groups(h) {
		errs = append(errs, processes.RemoveGroup(dir))
	}
	return errors.Join(errs...)
}

// RemoveTree is the function of that name.
func (*Config) RemoveTree(dir string) error { return RemoveTree(dir) }

// removeFile removes a file, if it exists.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveTree removes a directory of an engine with its contents, also those that an ordinary user's
// containers have made as other users. If something is mounted in it, it removes nothing: the engine's
// own mounts ended with its mount namespace, so that is somebody else's.
func RemoveTree(dir string) error {
	if err := mounts.Check(dir); err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	return namespaces.RemoveAll(dir)
}
