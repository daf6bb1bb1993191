package commands

import (
	"context"
	"strings"
	"time"

	"github.com/docker/cli/opts"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type getOptions struct {
	objects.Options
	watch   bool
	fresh   bool
	timeout flagValue[time.Duration]
}

func (a *app) newGet() *cobra.Command {
	o := getOptions{Options: objects.Options{Filter: opts.NewFilterOpt()}}
	cmd := &cobra.Command{
		Use:   "get [OPTIONS] KIND [NAME|ID...]",
		Short: "List objects of an engine from its mirror",
		Long: `List objects of an engine from its mirror:

  containers (ps, ctr), images (img), volumes (vol), networks (net), namespaces (ns)

Tables, filters and the placeholders of templates are the same as in "docker ps" and docker's
other lists. These are the differences:

  - The list comes from the mirror, and the engine is not asked. So this is fast, and works
    while the engine hangs or is gone; a note then says how old the mirror is. Otherwise the
    mirror may be some milliseconds behind. --fresh waits until it has everything that the
    engine has done so far.
  - Containers that do not run are listed too.
  - .Deletion, .Action and .LastAction show what was requested, and .Event what changed, with
    --watch. A table has a column for deletions while there are any.
  - Templates can show more, such as .Project, .Limits and .HealthOutput of containers,
    .Platform of images and .Subnets of networks.
  - Sizes that the engine has to measure are shown after "docker rd sync --sizes".`,
		Example: `  docker rd get containers --filter status=running
  docker rd get ps web --format '{{.Names}}: {{.Status}}'
  docker rd get images --watch`,
		Args:              takes(1, many),
		ValidArgsFunction: completing(a.kindWords),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runGet(cmd.Context(), o, args) },
	}
	o.AddFlags(cmd, "IDs, or names where there is no ID")
	flags := cmd.Flags()
	flags.BoolVarP(&o.All, "all", "a", false, "Show all images (default hides intermediate images)")
	flags.BoolVar(&o.NoTrunc, "no-trunc", false, "Don't truncate output")
	flags.BoolVarP(&o.watch, "watch", "w", false, "After the list, print a row for each change, until interrupted")
	flags.BoolVar(&o.fresh, "fresh", false, "Wait until the mirror has seen all that the engine has done so far")
	addTimeout(flags, &o.timeout, 30*time.Second, noLimit)
	flags.VarP(&o.Filter, "filter", "f", "Filter output based on conditions provided")
	_ = cmd.RegisterFlagCompletionFunc("filter", completing(a.filterWords))
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
	i, err := a.loadForObjects(nil)
	if err != nil {
		return err
	}
	if o.fresh {
		ctx, cancel := withTimeout(ctx, o.timeout)
		defer cancel()
		if err := client.Settle(ctx, i); err != nil {
			return err
		}
	}
	if o.watch {
		changes := q.Changes(a.out())
		return a.followMirror(ctx, i, changes.Show)
	}
	s, err := a.readState(i)
	if err != nil {
		return err
	}
	if err := a.neverSynced(i, s); err != nil {
		return err
	}
	note, live := "", instance.Live(s)
	a.noteAge(&note, i, s, live)
	return q.Write(a.out(), s, moment(i, s, live))
}

// filterWords completes filters, and then their values.
func (a *app) filterWords(args []string, word string) (words []string) {
	if len(args) == 0 {
		return nil
	}
	k, err := objects.ParseKind(args[0])
	if err != nil {
		return nil
	}
	name, _, valued := strings.Cut(word, "=")
	if !valued {
		for _, name := range k.Filters {
			words = append(words, described(name+"=", objects.FilterMeaning(name)))
		}
		return words
	}
	var s *state.State
	if i, err := a.load(nil); err == nil {
		s, _ = a.readState(i)
	}
	for _, value := range k.CompleteFilter(s, name) {
		words = append(words, name+"="+value)
	}
	return words
}
