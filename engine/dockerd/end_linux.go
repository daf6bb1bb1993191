package dockerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/mounts"
)

// endTimeout is how long the end of all processes may take once they were killed. It
// is spent only on processes that the kernel itself holds.
const endTimeout = 10 * time.Second

// Cleanup ends every process of the engine at once and removes what is left of it,
// whether or not there is a record of it and whatever was killed before. The engine's
// data, its private configuration and its log stay. Nothing to do is no error. When
// ctx ends it gives up and says what is left.
func Cleanup(ctx context.Context, cfg Config) error {
	return cfg.cleanup(ctx, nil)
}

// cleanup is [Cleanup] where cgroups of containers are known.
func (c *Config) cleanup(ctx context.Context, known []string) error {
	h, err := findHierarchies()
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	squatted, err := c.endProcesses(ctx, h, known)
	if err != nil || squatted { // then the files are that engine's
		return err
	}
	return c.removeLeftovers()
}

// endProcesses kills all processes of the engine, and removes its cgroups and those that
// are known to be its containers'. It tells whether another engine has the engine's data.
func (c *Config) endProcesses(ctx context.Context, h hierarchies, known []string) (squatted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	groups := append(c.groups(h), known...)
	for {
		f, err := c.scan(h, groups...)
		if err != nil {
			return false, err
		}
		// Groups that were seen once are remembered: once the shim or the first process of
		// the container has ended, they are not found again.
		for _, dir := range append(c.groups(h), f.groups...) {
			if !slices.Contains(groups, dir) {
				groups = append(groups, dir)
			}
		}
		squatted = f.squatter != nil
		if len(f.procs) == 0 {
			break
		}
		if ctx.Err() != nil {
			return squatted, fmt.Errorf("processes of the engine do not end: %s", describe(f.procs))
		}
		kill(h, f, groups)
	}
	var errs []error
	for _, dir := range groups {
		if err := removeGroup(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return squatted, errors.Join(errs...)
}

// kill sends SIGKILL to everything found and waits a moment for its end.
func kill(h hierarchies, f *found, groups []string) {
	// The engine first: it would start containers again that end before it.
	if f.daemon != nil {
		_ = f.daemon.id.Signal(syscall.SIGKILL)
	}
	for _, dir := range groups {
		killGroup(h, dir)
	}
	for _, p := range f.procs {
		_ = p.id.Signal(syscall.SIGKILL)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, p := range f.procs {
		_ = p.id.Wait(ctx)
	}
}

func describe(procs []proc) string {
	var names []string
	for _, p := range procs {
		names = append(names, fmt.Sprintf("%s (%s)", p.id, p.comm))
	}
	return strings.Join(names, ", ")
}

// removeLeftovers removes the files of an engine that has ended.
func (c *Config) removeLeftovers() error {
	errs := []error{
		removeFile(c.Socket),
		removeTree(c.ExecRoot),
		removeTree(c.private(runDocker)),
		removeTree(c.private(runContainerd)),
		removeFile(c.private(hostNetns)),
		removeFile(c.recordPath()),
		removeHostPaths(),
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

// removeTree removes a directory with all that is in it. The engine's own mounts ended
// with its mount namespace; whatever is mounted there now is somebody else's.
func removeTree(dir string) error {
	points, err := mounts.Below(dir)
	if err != nil {
		return fmt.Errorf("remove %q: %w", dir, err)
	}
	if len(points) > 0 {
		return failure.WithHint(fmt.Errorf("remove %q: something is mounted at %q", dir, points[0]), "umount %s", points[0])
	}
	return os.RemoveAll(dir)
}
