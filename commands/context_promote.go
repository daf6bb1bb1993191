package commands

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type promoteOptions struct {
	output.Options
	force   bool
	dryRun  bool
	timeout flagDuration
}

func (a *app) newContextPromote() *cobra.Command {
	var o promoteOptions
	cmd := a.onInstance(&cobra.Command{
		Use:   "promote [OPTIONS] [INSTANCE]",
		Short: "Make an instance's context the current one",
		Long: `Make an instance's context the current one, if the one that is current is broken,
or with --force whatever it is.

What was current before is remembered and put back when the engine stops, or by
"context demote".`,
	}, a.load, func(cmd *cobra.Command, i *instance.Instance) error { return a.runPromote(cmd, i, o) })
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Promote even if the current context works")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "Only print what would be done")
	addProbeTimeout(cmd.Flags(), &o.timeout)
	o.AddFormat(cmd)
	return cmd
}

func (a *app) runPromote(cmd *cobra.Command, i *instance.Instance, o promoteOptions) error {
	c, err := ownContext(cmd, i)
	if err != nil {
		return err
	}
	if !o.dryRun {
		_ = a.mend(cmd.Context(), i.DockerConfig)
	}
	if !usable(i) {
		return failure.WithHint(fmt.Errorf("instance %q: its engine does not run", i.Name), "docker-rd start %s", i.Name)
	}
	ctx, cancel, err := probeContext(cmd.Context(), o.timeout)
	if err != nil {
		return err
	}
	defer cancel()
	policy := dockercontext.PromoteIfBroken
	if o.force {
		policy = dockercontext.PromoteForce
	}
	owner := contexts.Owner(i)
	judgement := c.Judge(ctx, owner, policy)
	if err := cmd.Context().Err(); err != nil {
		return err // interrupted, so the judgement says nothing
	}
	out := c.Promote(cmd.Context(), judgement, owner, dockercontext.PromoteOptions{
		Policy: policy, DryRun: o.dryRun, Instance: i.Name,
		StillUp: func() bool { return usable(i) },
	})
	return a.writeOutcome(o.Options, out)
}

func (a *app) newContextDemote() *cobra.Command {
	var o output.Options
	cmd := a.onInstance(&cobra.Command{
		Use:   "demote [OPTIONS] [INSTANCE]",
		Short: "Put back the context that was current before",
		Long: `Put the context back that was current before an instance's: if it works or there is
no other, else the context of another instance that runs.

Only what docker rd made current is replaced, and not what was chosen by hand.`,
	}, a.load, func(cmd *cobra.Command, i *instance.Instance) error {
		c, err := ownContext(cmd, i)
		if err != nil {
			return err
		}
		_ = a.mend(cmd.Context(), i.DockerConfig)
		return a.writeOutcome(o, c.Demote(cmd.Context(), contexts.Owner(i), contexts.Candidates(i)))
	})
	o.AddFormat(cmd)
	return cmd
}

// ownContext returns the Docker configuration in which an instance has a context of its
// own.
func ownContext(cmd *cobra.Command, i *instance.Instance) (*dockercontext.Config, error) {
	if !i.OwnsContext() {
		return nil, failure.Refuse("instance %q uses the context %q, which is yours: docker rd leaves it as it is", i.Name, i.Settings.FromContext)
	}
	return configHere(cmd, i.DockerConfig)
}

// usable tells whether an instance's engine answers, as its supervisor sees it.
func usable(i *instance.Instance) bool {
	return instance.Observe(i).Condition(state.EngineReady).Status == state.True
}

// writeOutcome prints what was done, or returns why it could not be.
func (a *app) writeOutcome(o output.Options, out dockercontext.Outcome) error {
	if out.Err != nil {
		return out.Err
	}
	return output.WriteObject(a.out(), o, out, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, out.Message)
		return err
	})
}
