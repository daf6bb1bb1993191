package commands

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
)

func (a *app) newRestart() *cobra.Command {
	var timeout flagDuration
	var progress flagChoice
	cmd := a.onInstance(&cobra.Command{
		Use:   "restart [OPTIONS] [INSTANCE]",
		Short: "Restart an engine with the remembered settings",
		Long: `Stop an engine and start it again with the remembered settings.

Its context, and whether that is the current one, stay as they are.`,
	}, a.load, func(cmd *cobra.Command, i *instance.Instance) error {
		ctx, cancel, how := timeout.patience(cmd.Context())
		defer cancel()
		a.mend(ctx, i.DockerConfig)
		return a.restart(ctx, i, how, a.newProgress(progress.value))
	})
	addTimeout(cmd.Flags(), &timeout, 2*time.Minute)
	addProgress(cmd, &progress, "auto")
	return cmd
}

// restart stops and starts the instance. The start goes on if it is not waited for to its
// end: there was an engine before.
func (a *app) restart(ctx context.Context, i *instance.Instance, how client.StartOptions, p *progress) error {
	// Before anything is stopped that could not be started again.
	if err := check(i); err != nil {
		return err
	}
	p.doing("Engine is stopping")
	stopped, err := client.Stop(ctx, i, client.StopOptions{Keep: true})
	if err != nil {
		return err
	}
	if len(stopped.Killed) > 0 {
		a.warn("%s", killed(stopped.Killed))
	}
	p.step("Engine has stopped")
	how.GoOn = true
	return a.start(ctx, i, how, p)
}
