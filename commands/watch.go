package commands

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) newWatch() *cobra.Command {
	var since flagRevision
	cmd := a.onInstance(&cobra.Command{
		Use:   "watch [OPTIONS] [INSTANCE]",
		Short: "Print each change of an engine's objects as JSON",
		Long: `Print each change of an engine's objects, one JSON object a line, until interrupted:

  {"revision":42,"type":"MODIFIED","kind":"containers","id":"…","object":{…}}

The type is ADDED, MODIFIED or DELETED; all objects that there are come first, as
ADDED. With --since, only what changed after that revision comes. Where that is not
known any more, a line of type RESYNC says so and all objects follow: what was known
before and is not among them is gone. Several lines can have the same revision: whoever
may have missed some of them begins after the one before.`,
	}, a.loadForObjects, func(cmd *cobra.Command, i *instance.Instance) error {
		return a.runWatch(cmd.Context(), i, uint64(since))
	})
	cmd.Flags().Var(&since, "since", "Revision after which to begin (0: all objects)")
	return cmd
}

func (a *app) runWatch(ctx context.Context, i *instance.Instance, since uint64) error {
	enc := json.NewEncoder(a.out())
	enc.SetEscapeHTML(false)
	var last *state.State
	return a.followMirror(ctx, i, func(s *state.State) error {
		changes := state.Changes(last, s)
		if last == nil {
			changes = s.Since(since)
		}
		last = s
		for _, c := range changes {
			if err := enc.Encode(c); err != nil {
				return err
			}
		}
		return nil
	})
}
