package commands

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/failure"
)

var reportLayout = output.Layout{
	Table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Health}}\t{{.Host}}\t{{.ServerVersion}}\t{{.Message}}",
	Key:   "{{.Name}}",
	// As in docker's list of contexts, Current has no title: it marks a name.
	Titles: map[string]string{"Current": "", "APIVersion": "API", "ServerVersion": "VERSION", "LatencyMs": "MILLISECONDS"},
}

type probeOptions struct {
	output.Options
	timeout flagValue[time.Duration]
}

func (o *probeOptions) addTo(cmd *cobra.Command) {
	o.AddFlags(cmd, "names")
	addProbeTimeout(cmd.Flags(), &o.timeout)
}

// addProbeTimeout adds the --timeout of a probe, which always has one.
func addProbeTimeout(flags *pflag.FlagSet, value *flagValue[time.Duration]) {
	addTimeout(flags, value, dockercontext.DefaultTimeout, "How long a context may take to answer")
}

func probeContext(ctx context.Context, timeout flagValue[time.Duration]) (context.Context, context.CancelFunc, error) {
	if timeout.value == 0 {
		return nil, nil, failure.Refuse("timeout %s: a context must be given some time to answer", timeout.value)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout.value)
	return ctx, cancel, nil
}

func (a *app) newContextLs() *cobra.Command {
	var o probeOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List contexts with their health",
		Long: `List contexts with their health.

Each context is probed. It is healthy (a Docker engine answers), broken (it is proven
that none can answer) or unknown. "*" marks the context that docker uses here.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Quiet && o.IsTable() {
				return a.contextNames(cmd)
			}
			_, err := a.probe(cmd, o, nil)
			return err
		},
	}
	o.addTo(cmd)
	return cmd
}

func (a *app) newContextProbe() *cobra.Command {
	var o probeOptions
	cmd := &cobra.Command{
		Use:   "probe [OPTIONS] [CONTEXT...]",
		Short: "Check whether contexts work",
		Long: `Check whether contexts work: the given ones, or all.

The exit status is 1 if one of them is not healthy.`,
		Example:           `  docker rd context probe rd && docker --context rd ps`,
		Args:              takes(0, many),
		ValidArgsFunction: completing(a.contextWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			healthy, err := a.probe(cmd, o, args)
			if err == nil && !healthy {
				return ExitStatus(failure.CodeFailed)
			}
			return err
		},
	}
	o.addTo(cmd)
	return cmd
}

// contextNames prints only the names, without a probe.
func (a *app) contextNames(cmd *cobra.Command) error {
	c, err := shellContexts(cmd)
	if err != nil {
		return err
	}
	a.repair(cmd.Context(), c.Dir())
	for _, name := range c.Names() {
		if _, err := fmt.Fprintln(a.out(), name); err != nil {
			return err
		}
	}
	return nil
}

// probe prints the health of contexts and reports whether all are healthy.
func (a *app) probe(cmd *cobra.Command, o probeOptions, names []string) (healthy bool, err error) {
	c, err := shellContexts(cmd)
	if err != nil {
		return false, err
	}
	a.repair(cmd.Context(), c.Dir())
	ctx, cancel, err := probeContext(cmd.Context(), o.timeout)
	if err != nil {
		return false, err
	}
	defer cancel()
	reports := c.Probe(ctx, names...)
	if err := cmd.Context().Err(); err != nil {
		return false, err
	}
	sick := slices.ContainsFunc(reports, func(r dockercontext.Report) bool { return r.Health != dockercontext.Healthy })
	return !sick, output.WriteRows(a.out(), o.Options, reportLayout, reports)
}
