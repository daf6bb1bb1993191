package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type rmOptions struct {
	severalOptions
	force bool
}

func (a *app) newRm() *cobra.Command {
	var o rmOptions
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] INSTANCE [INSTANCE...]",
		Aliases: []string{"remove"},
		Short:   "Remove instances with all their data",
		Long: `Remove stopped instances with all their data: context, images, volumes, logs, state.
On a terminal, it asks first, unless --force is given.

An adopted engine (driver existing) keeps its data.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if !a.instance.given && !o.all { // $DOCKER_RD_INSTANCE is not enough for a removal
				return takes(1, many)(cmd, args)
			}
			if a.instance.given && len(args) > 0 {
				return failure.Usage("instances are named twice: %q and --instance %q", strings.Join(args, " "), a.instance.value)
			}
			return nil
		},
		ValidArgsFunction: completing(a.instanceWords),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runRm(cmd.Context(), o, args) },
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Do not ask, and stop instances that run, without waiting for their containers")
	o.add(cmd, "Remove", time.Minute)
	return cmd
}

func (a *app) runRm(ctx context.Context, o rmOptions, args []string) error {
	names, err := a.namesOf(args, o.all, a.choose)
	if err != nil {
		return err
	}
	if !o.force && a.docker.In().IsTerminal() {
		for _, name := range names {
			if err := a.confirmRemoval(ctx, name); err != nil {
				return err
			}
		}
	}
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	return a.onSeveral(o.progress.value, names, func(name string, t reporter) error { return a.remove(ctx, name, o, t) })
}

// confirmRemoval asks whether to remove an instance, and says how much is lost.
func (a *app) confirmRemoval(ctx context.Context, name string) error {
	i, err := a.salvage(loadNamed(name))
	if err != nil {
		return err
	}
	what := "its settings; the engine keeps its data"
	if !i.Settings.Adopts() {
		size, whole := i.DiskUsage(ctx)
		what = "all its data (" + humanSize(size, whole) + ")"
	}
	yes, err := a.confirm(ctx, "Remove instance %q with %s?", name, what)
	if err == nil && !yes {
		err = fmt.Errorf("instance %q is kept", name)
	}
	return err
}

// humanSize formats a size; if it is not whole, the true one is larger.
func humanSize(size int64, whole bool) string {
	text := units.HumanSizeWithPrecision(float64(size), 3)
	if !whole {
		return "more than " + text
	}
	return text
}

func (a *app) remove(ctx context.Context, name string, o rmOptions, t reporter) error {
	i, err := a.salvage(loadNamed(name))
	if err != nil {
		return err
	}
	if !client.Stopped(i) {
		if !o.force {
			return failure.WithHint(failure.Refuse("instance %q is running", name), "`docker-rd rm --force %s` stops it first", name)
		}
		t.of(name, "stop").because(tailOf(i.Paths.EngineLog())).doing(
			fmt.Sprintf("Instance %q is stopping", name), fmt.Sprintf("Instance %q is not removed", name))
	}
	if err := client.Remove(ctx, i); err != nil {
		return err
	}
	a.repair(ctx, i.DockerConfig)
	t.of(name, "stop").done(name)
	return nil
}
