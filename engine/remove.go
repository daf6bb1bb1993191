package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Remove deletes all files of the instance, the settings last, so that an
// interrupted removal can be repeated. It refuses, before anything is deleted, where
// something is mounted below one of the directories. The instance must be stopped
// and the caller must hold its supervisor lock.
func (i *Instance) Remove() error {
	dirs := []string{i.Paths.Runtime, i.Paths.Data, i.Paths.State}
	for _, dir := range dirs {
		mounts, err := mountsBelow(dir)
		if err != nil {
			return fmt.Errorf("remove instance %q: %w", i.Name, err)
		}
		if len(mounts) > 0 {
			return failure.WithHint(failure.Refuse("remove instance %q: %q is a mount point", i.Name, mounts[0]),
				"unmount it first: what is mounted there is not the instance's")
		}
	}
	for _, dir := range dirs[:2] {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove instance %q: %w", i.Name, err)
		}
	}
	// The lock that the caller holds goes with the directory. That is the one place
	// where a lock file is deleted: with it goes all that it protects.
	entries, err := os.ReadDir(i.Paths.State)
	if err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	var errs []error
	for _, e := range entries {
		if path := filepath.Join(i.Paths.State, e.Name()); path != i.Paths.InstanceFile() {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	if err := os.RemoveAll(i.Paths.State); err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	return nil
}
