package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type rmOptions struct {
	force   bool
	timeout flagDuration

	progress flagChoice
}

func (a *app) newRm() *cobra.Command {
	var o rmOptions
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] INSTANCE [INSTANCE...]",
		Aliases: []string{"remove"},
		Short:   "Remove instances with all their data",
		Long: `Remove stopped instances with all their data: context, images, volumes, logs, state.

An engine that was there already (driver existing) keeps its data.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case !a.instance.given:
				return takes(1, many)(cmd, args)
			case len(args) > 0:
				return failure.Usage("instances are named twice: %q and --instance %q", strings.Join(args, " "), a.instance.value)
			}
			return nil
		},
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), o.timeout)
			defer cancel()
			if a.instance.given { // but not $DOCKER_RD_INSTANCE: whoever removes something names it
				args = []string{a.instance.value}
			}
			var errs []error
			for _, name := range args {
				errs = append(errs, a.remove(ctx, name, o))
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Stop instances that run, without waiting for their containers")
	addTimeout(cmd.Flags(), &o.timeout, time.Minute)
	addProgress(cmd, &o.progress, "auto")
	return cmd
}

func (a *app) remove(ctx context.Context, name string, o rmOptions) error {
	i, err := a.salvage(loadNamed(name))
	if err != nil {
		return err
	}
	p := a.newProgress(o.progress.value)
	if !client.Stopped(i) {
		if !o.force {
			return hinted(failure.Refuse("instance %q is running", name), func(hinter) string {
				return "`docker-rd rm --force " + name + "` stops it first"
			})
		}
		p.doing(fmt.Sprintf("Instance %q is stopping", name))
	}
	if err := client.Remove(ctx, i); err != nil {
		return err
	}
	a.mend(ctx, i.DockerConfig)
	p.done(name)
	return nil
}
