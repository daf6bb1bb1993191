package commands

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) newWatch() *cobra.Command {
	since := flagValue[uint64]{kind: "revision", parse: func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			err = errors.New("not a revision such as 42")
		}
		return n, err
	}}
	cmd := a.onInstance(&cobra.Command{
		Use:   "watch [OPTIONS] [INSTANCE]",
		Short: "Print each change of an engine's objects as JSON",
		Long: `Print each change of an engine's objects, one JSON object a line, until interrupted:

  {"revision":42,"type":"MODIFIED","kind":"containers","id":"…","object":{…}}

The type is ADDED, MODIFIED or DELETED. First, each existing object is printed as ADDED.
With --since, only the changes after that revision are printed. If they are not known any
more, a line of type RESYNC says so, and all objects follow: an object that is not among
them is gone. Several lines can have the same revision. A reader that may have missed some
of them continues after the revision before.`,
	}, a.loadForObjects, func(cmd *cobra.Command, i *instance.Instance) error {
		return a.runWatch(cmd.Context(), i, since.value)
	})
	cmd.Flags().Var(&since, "since", "Revision after which to begin (0: all objects)")
	return cmd
}

func (a *app) runWatch(ctx context.Context, i *instance.Instance, since uint64) error {
	var last *state.State
	return a.followMirror(ctx, i, func(s *state.State, _ time.Time) error {
		changes := state.Changes(last, s)
		if last == nil {
			changes = s.Since(since)
		}
		last = s
		for _, c := range changes {
			line, err := json.Marshal(c, json.Deterministic(true))
			if err != nil {
				return err
			}
			if _, err := a.out().Write(append(line, '\n')); err != nil {
				return err
			}
		}
		return nil
	})
}
