package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Remove stops the instance by force and removes it with all its files. If its context can't be
// demoted or removed, nothing is removed; if that is the current one by its user's choice, or
// something is mounted among the instance's files, it is not stopped either. If ctx ends before the
// files are being removed, they stay.
func Remove(ctx context.Context, i *instance.Instance) error {
	if err := i.CheckRemove(); err != nil {
		return err
	}
	if chosen(ctx, i) {
		return fmt.Errorf("remove instance %q: %w", i.Name, inUse(i))
	}
	release, err := stopAndHold(ctx, i)
	if err != nil || release == nil {
		return err
	}
	err = removeHeld(ctx, i)
	release()
	if err == nil {
		_ = files.Remove(i.Paths.State) // on Windows, only after the lock's release
	}
	return err
}

// stopAndHold stops the instance by force and takes its supervisor lock. Without an error, a nil
// release means that somebody else has removed the instance.
func stopAndHold(ctx context.Context, i *instance.Instance) (release func(), err error) {
	// systemd may be starting it just now, with the user's session: a second stop meets that.
	for again := i.Settings.Autostart; ; again = false {
		if _, err := Stop(ctx, i, StopOptions{Force: true}); err != nil {
			return nil, err
		}
		release, err := lock.TryAcquire(i.Paths.SupervisorLock())
		switch {
		case err == nil:
			return release, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case !again:
			return nil, failure.Refuse("remove instance %q: it was started again: %w", i.Name, err)
		}
	}
}

// removeHeld removes the instance, whose supervisor lock the caller holds.
func removeHeld(ctx context.Context, i *instance.Instance) error {
	if err := forget(ctx, i); err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	if err := forgetBoot(ctx, i); err != nil {
		return err
	}
	if err := engine.RemoveData(i); err != nil {
		return err
	}
	return i.Remove()
}

// chosen reports whether the instance's context is the current one by its user's choice.
func chosen(ctx context.Context, i *instance.Instance) bool {
	docker, err := contexts.Config(i)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
	defer cancel()
	owner := contexts.Owner(i)
	ours, err := docker.Exists(owner)
	return err == nil && ours && docker.Promoted(ctx, owner).Reason == state.ReasonAlreadyCurrent
}

func inUse(i *instance.Instance) error {
	return problem(i, ContextInUse, failure.Refuse("context %q is the current one, and docker rd did not make it so", i.Context()))
}

// forget demotes and removes the instance's context.
func forget(ctx context.Context, i *instance.Instance) error {
	owner := contexts.Owner(i)
	if owner.Context == "" {
		return nil
	}
	docker, err := contexts.Config(i)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
	defer cancel()
	if out := docker.Demote(ctx, owner); out.Reason == state.ReasonFailed {
		return out.Err
	}
	if out := docker.Remove(ctx, owner); out.Err != nil {
		return out.Err
	}
	if ours, err := docker.Exists(owner); err != nil || ours { // chosen just now
		return errors.Join(err, inUse(i))
	}
	return nil
}
