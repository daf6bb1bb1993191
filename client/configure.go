package client

import (
	"context"
	"errors"
	"slices"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
)

// Configure remembers what change makes of the instance's settings. Those that need no restart hold
// when it returns; again names some of them that are made to hold also if they are unchanged. Where
// that fails, the settings stay as they were. When ctx ends first, so do they.
func Configure(ctx context.Context, i *instance.Instance, change func(*instance.Settings) error, again ...string) error {
	before, next := *i, *i
	if err := change(&next.Settings); err != nil {
		return err
	}
	err := applyLive(ctx, &before, &next, again)
	if err == nil {
		err = i.Update(ctx, change)
	}
	if err != nil {
		err = errors.Join(err, applyLive(context.WithoutCancel(ctx), &next, &before, nil))
	}
	return err
}

// Create makes the instance, see [instance.Create], with the settings that need no restart. If ctx
// ends first, there is no instance.
func Create(ctx context.Context, i *instance.Instance) (inst *instance.Instance, created bool, err error) {
	if i.Settings.Autostart {
		if err := setBoot(ctx, i); err != nil { // a unit may exist before its instance
			return nil, false, err
		}
	}
	inst, created, err = instance.Create(ctx, i)
	if !created && i.Settings.Autostart {
		err = errors.Join(err, forgetBoot(context.WithoutCancel(ctx), i))
	}
	return inst, created, err
}

// applyLive makes the settings of next hold that need no restart and differ from those of
// before, or are named.
func applyLive(ctx context.Context, before, next *instance.Instance, named []string) error {
	differs := func(key string) bool {
		return slices.Contains(named, key) || before.Settings.Get(key) != next.Settings.Get(key)
	}
	if differs("autostart") {
		if err := setBoot(ctx, next); err != nil {
			return err
		}
	}
	if differs("memory") || differs("cpus") || differs("pids-limit") {
		return engine.SetLimits(next)
	}
	return nil
}
