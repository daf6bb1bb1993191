package instance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/lock"
)

// CheckRemove refuses if something is mounted among the instance's files: it must not be removed
// with them.
func (i *Instance) CheckRemove() error {
	for _, dir := range []string{i.Paths.Runtime, i.Paths.Data, i.Paths.State} {
		if err := mounts.Check(dir); err != nil {
			return failure.Refuse("remove instance %q: %w", i.Name, err)
		}
	}
	return nil
}

// Remove deletes all files of the instance, the settings last, so that an interrupted removal can
// be repeated. If [Instance.CheckRemove] refuses, nothing is deleted. The instance must be
// stopped, and the caller must hold its supervisor lock. On Windows the empty state directory
// stays until the lock is released.
func (i *Instance) Remove() error {
	if err := i.CheckRemove(); err != nil {
		return err
	}
	for _, dir := range []string{i.Paths.Runtime, i.Paths.Data} {
		if err := files.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove instance %q: %w", i.Name, err)
		}
	}
	// Settings that are being changed would be half there again.
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	release, err := lock.Acquire(ctx, i.Paths.StateLock())
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // of an earlier removal that was interrupted
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	if err != nil {
		return i.removeState()
	}
	err = i.removeState()
	release()
	if err == nil {
		_ = files.Remove(i.Paths.State) // on Windows, only after the lock's release
	}
	return err
}

// removeTimeout bounds the wait for the state lock, which others hold for moments.
const removeTimeout = 10 * time.Second

// removeState removes the state directory. The caller holds the state lock.
func (i *Instance) removeState() error {
	entries, err := os.ReadDir(i.Paths.State)
	if err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	// The copy goes before the settings, which would look damaged otherwise. Locks go last:
	// a process that waits for one looks for the settings once it is gone. Lock files are deleted
	// nowhere else.
	settings := []string{i.Paths.InstanceBackup(), i.Paths.InstanceFile()}
	locks := []string{i.Paths.StateLock(), i.Paths.StartLock(), i.Paths.SupervisorLock()}
	var rest []string
	for _, e := range entries {
		if path := filepath.Join(i.Paths.State, e.Name()); !slices.Contains(settings, path) && !slices.Contains(locks, path) {
			rest = append(rest, path)
		}
	}
	for _, paths := range [][]string{rest, settings, locks} {
		var errs []error
		for _, path := range paths {
			errs = append(errs, files.RemoveAll(path))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("remove instance %q: %w", i.Name, err)
		}
	}
	// Another process may have begun to create the instance again.
	if err := files.Remove(i.Paths.State); err != nil && !files.IsNotEmpty(err) {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	return nil
}
