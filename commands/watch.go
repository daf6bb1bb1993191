package commands

import (
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor"
)

func (a *app) newWatch() *cobra.Command {
	var since uint64
	cmd := &cobra.Command{
		Use:   "watch [OPTIONS] [INSTANCE]",
		Short: "Print each change of an engine's objects",
		Long: `Print each change of an engine's objects, one JSON object a line, until interrupted:

  {"revision":42,"type":"MODIFIED","kind":"containers","id":"…","object":{…}}

The type is ADDED, MODIFIED or DELETED; all objects that there are come first, as
ADDED. With --since, only what changed after that revision comes. Where that is not
known any more, a line of type RESYNC says so and all objects follow: what was known
before and is not among them is gone.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.load(args)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(a.out())
			enc.SetEscapeHTML(false)
			var last *state.State
			note := ""
			err = supervisor.FollowObjects(cmd.Context(), i, func(o supervisor.Observation) (bool, error) {
				if _, corrupt := errors.AsType[*state.CorruptError](o.StateErr); corrupt && last != nil {
					return true, nil // it is being made anew
				}
				if o.StateErr != nil {
					return false, readError(i, o.StateErr)
				}
				a.noteChange(&note, o.State, o.Live)
				changes := state.Changes(last, o.State)
				if last == nil {
					changes = o.State.Since(since)
				}
				last = o.State
				for _, c := range changes {
					if err := enc.Encode(c); err != nil {
						return false, err
					}
				}
				return true, nil
			})
			return interrupted(cmd.Context(), err)
		},
	}
	cmd.Flags().Uint64Var(&since, "since", 0, "Revision after which to begin (0: all objects)")
	return cmd
}
