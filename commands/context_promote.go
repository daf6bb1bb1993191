package commands

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type promoteOptions struct {
	output.Options
	force   bool
	dryRun  bool
	timeout flagValue[time.Duration]
}

func (a *app) newContextPromote() *cobra.Command {
	var o promoteOptions
	cmd := a.onInstance(&cobra.Command{
		Use:   "promote [OPTIONS] [INSTANCE]",
		Short: "Make an instance's context the current one",
		Long: `Make an instance's context the current one if the current one is broken, or, with
--force, in any case.

The previous context is remembered. It is put back when the engine stops, or by
"context demote". The exit status is 3 if docker does not use the instance's context
afterwards.`,
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
		a.repair(cmd.Context(), i.DockerConfig)
	}
	if instance.Observe(i).Condition(state.ContextReady).Reason == state.ReasonLedElsewhere {
		return failure.WithHint(failure.Refuse("context %q does not lead to the engine of instance %q", i.Context(), i.Name),
			"%s leads it back", a.hinter().run("start", i.Name))
	}
	if err := checkUsable(i, instance.Observe(i)); err != nil {
		return err
	}
	ctx, cancel, err := probeContext(cmd.Context(), o.timeout)
	if err != nil {
		return err
	}
	defer cancel()
	policy := dockercontext.PromoteIfBroken
	if o.force {
		policy = dockercontext.PromoteAlways
	}
	owner := contexts.Owner(i)
	judgement := c.Judge(ctx, owner, policy)
	if err := cmd.Context().Err(); err != nil {
		return err // interrupted: the judgement means nothing
	}
	had := c.Claimed(owner)
	out := c.Promote(cmd.Context(), judgement, owner, dockercontext.PromoteOptions{Policy: policy, DryRun: o.dryRun})
	if !o.dryRun && out.IsCurrent() {
		a.claim(cmd.Context(), c, i, policy, had)
	}
	other := ""
	if out.IsCurrent() {
		other = overridden(i)
	}
	if other != "" && out.EnvOverride == "" {
		out.Message += " In this shell, " + other + "."
	}
	// A script's next command must not hit another engine.
	return a.writeOutcome(o.Options, out, out.IsCurrent() && other == "", promoteHint(i, out))
}

// claim makes the default sockets lead to an engine whose context is the current one, and
// notes it if that is new. The supervisor may do the same at the same time.
func (a *app) claim(ctx context.Context, c *dockercontext.Config, i *instance.Instance, policy dockercontext.Policy, had dockercontext.Outcome) {
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		return
	}
	socket := engine.LocalSocket(driver)
	switch out := c.Claim(ctx, contexts.Owner(i), socket, policy, nil); {
	case out.Err != nil:
		a.warn("%v", out.Err)
	case out.Reason == state.ReasonClaimed && had.Reason != out.Reason:
		a.note("%s", out.Message)
	}
}

// overridden returns what makes docker use another engine in this shell than the instance's, whose
// context is current: a variable, or another Docker configuration. It returns "" if nothing does.
func overridden(i *instance.Instance) string {
	dir, err := dockerConfig()
	if err != nil {
		return ""
	}
	here := dockercontext.Open(dockercontext.Options{Dir: dir, Getenv: os.Getenv})
	effective, _ := here.InForce()
	own := contexts.UsesConfig(i, dir)
	other := here.EnvOverride()
	switch {
	case own && effective == i.Context():
		return ""
	case other != "":
		other = fmt.Sprintf("%s=%s overrides the current context", other, endpoint.Endpoint{Host: os.Getenv(other)}.Shown())
	case own:
		return "" // a dry run
	default:
		other = fmt.Sprintf("docker uses the configuration in %s, not that in %s", dir, i.DockerConfig)
	}
	used, err := here.Endpoint(effective)
	if err != nil {
		return other
	}
	if at, err := endpointOf(i); err != nil || used.Host != at.Host {
		return other
	}
	return ""
}

func promoteHint(i *instance.Instance, out dockercontext.Outcome) string {
	switch {
	case out.IsCurrent() && out.EnvOverride == "":
		return fmt.Sprintf("`docker%s ps` uses it", configFlag(i.DockerConfig))
	case out.IsCurrent():
		return fmt.Sprintf("`unset %s` makes docker follow the current context", out.EnvOverride)
	case stayedByPolicy(out.Reason):
		return fmt.Sprintf("`docker-rd context promote --force %s` makes it current; `docker%s --context %s` works without that", i.Name, configFlag(i.DockerConfig), i.Context())
	}
	return ""
}

// stayedByPolicy reports whether --force would make the promotion.
func stayedByPolicy(reason state.Reason) bool {
	return reason == state.ReasonCurrentHealthy || reason == state.ReasonCurrentUnknown || reason == state.ReasonNotRequested
}

func (a *app) newContextDemote() *cobra.Command {
	var o output.Options
	cmd := a.onInstance(&cobra.Command{
		Use:   "demote [OPTIONS] [INSTANCE]",
		Short: "Put back the previous context",
		Long: `Put back the context that was current before an instance's. If it does not work, the
context of another running instance takes its place.

A context that you chose by hand stays. The exit status is 3 if the instance's context
stays the current one.`,
	}, a.load, func(cmd *cobra.Command, i *instance.Instance) error {
		c, err := ownContext(cmd, i)
		if err != nil {
			return err
		}
		a.repair(cmd.Context(), i.DockerConfig)
		out := c.Demote(cmd.Context(), contexts.Owner(i))
		return a.writeOutcome(o, out, out.Reason != state.ReasonAlreadyCurrent, "choose another: `docker context use default`")
	})
	o.AddFormat(cmd)
	return cmd
}

// ownContext returns the Docker configuration that has the instance's own context.
func ownContext(cmd *cobra.Command, i *instance.Instance) (*dockercontext.Config, error) {
	if i.Context() == "" {
		return nil, failure.Refuse("instance %q has no context: docker can't use a containerd", i.Name)
	}
	if !i.OwnsContext() {
		return nil, failure.Refuse("instance %q uses the context %q, which is yours: docker rd leaves it as it is", i.Name, i.Settings.FromContext)
	}
	return configHere(cmd, i.DockerConfig)
}

// writeOutcome prints what was done, or returns why it failed. If that is not what was asked
// for, it returns a refusal with the hint.
func (a *app) writeOutcome(o output.Options, out dockercontext.Outcome, asked bool, hint string) error {
	if out.Err != nil {
		return out.Err
	}
	if !asked && o.IsTable() {
		err := failure.Refuse("%s", dockercontext.Clause(out.Message))
		if hint != "" {
			err = failure.WithHint(err, "%s", hint)
		}
		return err
	}
	err := output.WriteObject(a.out(), o, out, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, out.Message)
		return err
	})
	if err == nil && !asked {
		err = ExitStatus(failure.CodeRefused)
	}
	return err
}
