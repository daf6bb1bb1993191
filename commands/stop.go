package commands

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
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

Each container has the time to stop that it was given (docker run --stop-timeout), or as long
as --timeout says, if that is longer. What does not stop in time is killed, and named.

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

// patience is how long containers may take to stop, so that what had to be killed can still
// be told in time. Without a --timeout they have what they were given when they were made.
func (o stopOptions) patience() time.Duration {
	const margin = 5 * time.Second
	switch {
	case !o.timeout.given:
		return 0
	case o.timeout.d == 0:
		return math.MaxInt64
	}
	return max(0, o.timeout.d-margin)
}

// killed says which containers a stop had to kill.
func killed(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	if len(names) == 1 {
		return "container " + quoted[0] + " was killed"
	}
	return "containers " + strings.Join(quoted, ", ") + " were killed"
}

func (a *app) stop(ctx context.Context, i *instance.Instance, o stopOptions) error {
	p := a.newProgress(o.progress.value)
	if !client.Stopped(i) {
		p.doing(fmt.Sprintf("Instance %q is stopping", i.Name))
	}
	stopped, err := client.Stop(ctx, i, client.StopOptions{Force: o.force, Patience: o.patience()})
	if err != nil {
		return err
	}
	a.mend(ctx, i.DockerConfig)
	what := "is stopped"
	if !stopped.Ran {
		what = "is not running"
	}
	if len(stopped.Killed) > 0 {
		a.warn("%s", killed(stopped.Killed))
	}
	p.done(fmt.Sprintf("Instance %q %s", i.Name, what))
	return nil
}
