package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) newSync() *cobra.Command {
	var o longOptions
	var sizes bool
	cmd := a.onInstance(&cobra.Command{
		Use:   "sync [OPTIONS] [INSTANCE]",
		Short: "Bring the mirror of an engine up to date",
		Long: `Bring the mirror of an engine up to date: read everything from the engine again. This also
finds changes for which the engine sends no event. The supervisor does it; if none runs,
this command does.

--sizes also measures the disk usage of containers and volumes and what images share, as
"docker system df" does. "docker rd get" and the state file then show these sizes.`,
	}, a.loadForObjects, func(cmd *cobra.Command, i *instance.Instance) error {
		return a.inTime(cmd.Context(), o, func(ctx context.Context, t reporter) error {
			t = t.of(i.Name, state.MirrorSynced)
			t.doing(fmt.Sprintf("Mirror of instance %q is being synced", i.Name), fmt.Sprintf("Mirror of instance %q is not synced", i.Name))
			if err := client.Sync(ctx, i, sizes); err != nil {
				return err
			}
			t.did(fmt.Sprintf("Mirror of instance %q is synced", i.Name))
			return nil
		})
	})
	o.add(cmd, 2*time.Minute)
	cmd.Flags().BoolVar(&sizes, "sizes", false, "Measure what objects take on disk, too")
	return cmd
}
