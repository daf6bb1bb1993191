package dockerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/mounts"
)

// Cleanup ends every process of the engine at once and removes what is left of it,
// whether or not there is a record of it and whatever was killed before. The engine's
// data, its private configuration and its log stay. Nothing to do is no error. When
// ctx ends it gives up and says what is left.
func Cleanup(ctx context.Context, cfg Config) error {
	return cfg.cleanup(ctx, nil)
}

// cleanup is [Cleanup] where cgroups of containers are known.
func (c *Config) cleanup(ctx context.Context, known []string) error {
	h, err := c.mode().hierarchies()
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	left, err := c.processes().End(ctx, h, known)
	if err != nil || c.squatter(left) != nil { // then the files are that engine's
		return err
	}
	return c.removeLeftovers(ctx)
}

// removeLeftovers removes the files of an engine that has ended.
func (c *Config) removeLeftovers(ctx context.Context) error {
	errs := []error{
		removeFile(c.Socket),
		c.mode().removeTree(c.ExecRoot),
		c.mode().removeTree(c.private(runDocker)),
		c.mode().removeTree(c.private(runContainerd)),
		c.mode().removeTree(c.private(portsDir)),
		removeFile(c.private(hostNetns)),
		removeFile(c.engineFilePath()),
	}
	if !c.Rootless {
		errs = append(errs, namespaces.RemoveHostPaths(ctx, slices.Concat(hostDirs, formerHostPaths)))
	}
	return errors.Join(errs...)
}

// removeFile removes a file, if it is there.
func removeFile(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// removeTree removes a directory with all that is in it.
func removeTree(dir string) error {
	if err := checkMounts(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// checkMounts refuses where something is mounted in a directory that is to be removed. The
// engine's own mounts ended with its mount namespace; whatever is mounted there now is
// somebody else's.
func checkMounts(dir string) error {
	points, err := mounts.Below(dir)
	if err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	if len(points) > 0 {
		return fmt.Errorf("remove %q: %w", dir, &mounts.BusyError{Point: points[0]})
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
