package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type stopOptions struct {
	timeout flagDuration
	force   bool
	all     bool

	progress flagChoice
}

func (a *app) newStop() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] [INSTANCE]",
		Short: "Stop an engine and wait until it is gone",
		Long: `Stop an engine and wait until it is gone.

An engine that was there already (driver existing) goes on; it is only let go.`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeInstance,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runStop(cmd.Context(), o, args) },
	}
	flags := cmd.Flags()
	addTimeout(flags, &o.timeout, time.Minute)
	flags.BoolVarP(&o.force, "force", "f", false, "Do not wait for containers to stop")
	flags.BoolVarP(&o.all, "all", "a", false, "Stop all instances")
	addProgress(cmd, &o.progress, "auto")
	return cmd
}

func (a *app) runStop(ctx context.Context, o stopOptions, args []string) error {
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	if !o.all {
		i, err := a.loadAnyway(args)
		if err != nil {
			return err
		}
		return a.stop(ctx, i, o)
	}
	if len(args) > 0 || a.instance.given {
		return failure.Usage("--all and an instance exclude each other")
	}
	return a.stopAll(ctx, o)
}

func (a *app) stopAll(ctx context.Context, o stopOptions) error {
	names, err := instanceNames()
	if err != nil {
		return err
	}
	errs := make([]error, len(names))
	var group errgroup.Group
	for n, name := range names {
		group.Go(func() error {
			i, err := a.salvage(loadNamed(name))
			if err == nil {
				err = a.stop(ctx, i, o)
			}
			errs[n] = err
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

func (a *app) stop(ctx context.Context, i *instance.Instance, o stopOptions) error {
	p := a.newProgress(o.progress.value)
	if !client.Stopped(i) {
		p.doing(fmt.Sprintf("Instance %q is stopping", i.Name))
	}
	stopped, err := client.Stop(ctx, i, client.StopOptions{Force: o.force})
	if err != nil {
		return err
	}
	a.mend(ctx, i.DockerConfig)
	what := "is stopped"
	if !stopped {
		what = "is not running"
	}
	p.done(fmt.Sprintf("Instance %q %s", i.Name, what))
	return nil
}
