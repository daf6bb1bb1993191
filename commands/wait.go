package commands

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor"
)

// conditionTypes are the conditions that can be waited for.
var conditionTypes = []string{state.Ready, state.EngineReady, state.ContextReady, state.ContextPromoted, state.MirrorSynced}

// waitStopped is what is waited for instead of a condition: no engine, no supervisor.
const waitStopped = "stopped"

func (a *app) newWait() *cobra.Command {
	var target string
	var timeout flagDuration
	cmd := &cobra.Command{
		Use:   "wait [OPTIONS] [INSTANCE] --for CONDITION[=STATUS]|stopped",
		Short: "Wait for a condition of an instance",
		Long: `Wait for a condition of an instance: ` + strings.Join(conditionTypes, ", ") + `.

The STATUS is True if none is given, or False or Unknown. A condition counts only
while a supervisor keeps it. "stopped" waits until engine and supervisor are gone.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			return a.runWait(ctx, target, args)
		},
	}
	cmd.Flags().StringVar(&target, "for", state.Ready, "What to wait for")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(append(slices.Clone(conditionTypes), waitStopped), cobra.ShellCompDirectiveNoFileComp))
	addTimeout(cmd.Flags(), &timeout, 30*time.Second)
	return cmd
}

func (a *app) runWait(ctx context.Context, target string, args []string) error {
	reached, err := parseTarget(target)
	if err != nil {
		return err
	}
	i, err := a.load(args)
	if err != nil {
		return err
	}
	var last supervisor.Observation
	err = supervisor.Follow(ctx, i, func(o supervisor.Observation) (bool, error) {
		last = o
		return !reached(i, o), nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return failure.WithHint(failure.Timeout("instance %q: not %s in time, but %s", i.Name, target, howItIs(i, last, target)),
			"docker-rd status %s", i.Name)
	}
	return err
}

// parseTarget returns what tells whether the target is reached.
func parseTarget(target string) (func(*engine.Instance, supervisor.Observation) bool, error) {
	if target == waitStopped {
		return func(i *engine.Instance, _ supervisor.Observation) bool { return supervisor.Stopped(i) }, nil
	}
	typ, status, ok := strings.Cut(target, "=")
	if !ok {
		status = string(state.True)
	}
	if !slices.Contains(conditionTypes, typ) {
		return nil, failure.WithHint(failure.Refuse("unknown condition %q", typ),
			"conditions are %s, and %s", strings.Join(conditionTypes, ", "), waitStopped)
	}
	want := state.Status(status)
	if want != state.True && want != state.False && want != state.Unknown {
		return nil, failure.Refuse("status %q of condition %s: it can be True, False or Unknown", status, typ)
	}
	return func(_ *engine.Instance, o supervisor.Observation) bool { return o.Condition(typ).Status == want }, nil
}

// howItIs describes what was found instead of the target.
func howItIs(i *engine.Instance, o supervisor.Observation, target string) string {
	if typ, _, _ := strings.Cut(target, "="); target != waitStopped {
		c := o.Condition(typ)
		text := string(c.Status)
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		if c.Message != "" {
			text += ": " + c.Message
		}
		return text
	}
	return statusWord(o, i)
}
