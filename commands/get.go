package commands

import (
	"context"

	"github.com/docker/cli/opts"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/supervisor"
)

type getOptions struct {
	objects.Options
	watch bool
}

func (a *app) newGet() *cobra.Command {
	o := getOptions{Options: objects.Options{Filter: opts.NewFilterOpt()}}
	cmd := &cobra.Command{
		Use:   "get [OPTIONS] KIND [NAME|ID...]",
		Short: "List objects of an engine from its mirror",
		Long: `List objects of an engine from its mirror: containers, images, volumes, networks or
namespaces.

Nothing but the mirror is read, so this also works while the engine hangs or is gone;
a note then says how old the mirror is. Tables, filters and the placeholders of
templates are docker's. Besides, there are .Deletion and .LastAction, which tell of
requests, and .Event with --watch.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeObjects,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runGet(cmd.Context(), o, args) },
	}
	o.AddFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&o.All, "all", "a", false, "List intermediate images too (containers are all listed)")
	flags.BoolVar(&o.NoTrunc, "no-trunc", false, "Do not shorten the output")
	flags.BoolVarP(&o.watch, "watch", "w", false, "Go on with a row for each change")
	flags.VarP(&o.Filter, "filter", "f", `Filter as docker does (e.g. "status=running")`)
	return cmd
}

func (a *app) runGet(ctx context.Context, o getOptions, args []string) error {
	k, err := objects.ParseKind(args[0])
	if err != nil {
		return err
	}
	q, err := objects.NewQuery(k, args[1:], o.Options)
	if err != nil {
		return err
	}
	i, err := a.load(nil)
	if err != nil {
		return err
	}
	if o.watch {
		changes := q.Changes(a.out())
		return a.followMirror(ctx, i, changes.Show)
	}
	s, err := readState(i)
	if err != nil {
		return err
	}
	note := ""
	a.noteAge(&note, s, supervisor.Live(s))
	return q.Write(a.out(), s)
}
