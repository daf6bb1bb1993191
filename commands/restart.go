package commands

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

func (a *app) newRestart() *cobra.Command {
	var timeout flagDuration
	var progress flagChoice
	var all bool
	cmd := &cobra.Command{
		Use:   "restart [OPTIONS] [INSTANCE...]",
		Short: "Restart engines with the remembered settings",
		Long: `Stop engines and start them again with the remembered settings.

Their contexts, and which is the current one, stay as they are.`,
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.namesOf(args, all, a.toEnd(cmd))
			if err != nil {
				return err
			}
			ctx, cancel, how := timeout.patience(cmd.Context())
			defer cancel()
			return a.onSeveral(progress.value, names, func(name string, t teller) error {
				i, err := loadNamed(name)
				if err != nil {
					return err
				}
				a.mend(ctx, i.DockerConfig)
				return a.restart(ctx, i, how, t)
			})
		},
	}
	addAll(cmd, &all, "Restart")
	addTimeout(cmd.Flags(), &timeout, 2*time.Minute)
	addProgress(cmd, &progress, "auto")
	return cmd
}

// restart stops and starts the instance. At a timeout the start goes on: there was an engine
// before.
func (a *app) restart(ctx context.Context, i *instance.Instance, how client.StartOptions, t teller) error {
	// Do not stop what could not be started again.
	if err := check(i); err != nil {
		return err
	}
	stop := t.of(i.Name, "stop").because(tailOf(i.Paths.EngineLog()))
	stop.doing("Engine is stopping", "Engine is not stopped")
	whole, cancel := withoutDeadline(ctx)
	defer cancel()
	stopped, err := client.Stop(whole, i, client.StopOptions{Keep: true})
	if err != nil {
		return err
	}
	if len(stopped.Killed) > 0 {
		a.warn("%s", killed(stopped.Killed))
	}
	stop.did("Engine has stopped")
	how.GoOn = true
	if ctx.Err() == nil {
		return a.start(ctx, i, how, t)
	}
	// The stop took all the time. Start again what ran before.
	if _, err := client.Start(whole, i, client.StartOptions{Detach: true}); err != nil {
		return err
	}
	return &client.Error{Instance: i, Problem: client.NotReady,
		Err: failure.Timeout("instance %q has not stopped and started in time; it goes on starting", i.Name)}
}

// withoutDeadline returns a context that ends when ctx is cancelled, but not at its deadline.
func withoutDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return whole, func() { stop(); cancel() }
}
