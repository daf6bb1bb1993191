package commands

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// conditionTypes are the conditions that can be waited for.
var conditionTypes = []string{state.Ready, state.EngineReady, state.ContextReady, state.ContextPromoted, state.SocketClaimed, state.MirrorSynced}

// conditionMeanings say what it means that a condition is True.
var conditionMeanings = map[string]string{
	state.Ready:           "the engine can be used, and all that a start waits for is decided",
	state.EngineReady:     "the engine answers",
	state.ContextReady:    "the context exists",
	state.ContextPromoted: "the context is the current one",
	state.SocketClaimed:   "the default socket leads to the engine",
	state.MirrorSynced:    "the mirror is complete",
}

// waitStopped is what is waited for instead of a condition: no engine, no supervisor.
const waitStopped = "stopped"

func (a *app) newWait() *cobra.Command {
	var targets []string
	var timeout flagDuration
	cmd := a.onInstance(&cobra.Command{
		Use:   "wait [OPTIONS] [INSTANCE]",
		Short: "Wait for a condition of an instance or a container",
		Long: `Wait for a condition of an instance or a container. What to wait for can be

  CONDITION[=STATUS]    ` + strings.Join(conditionTypes, ", ") + `:
                        True unless the status is given as False or Unknown
  stopped               engine and supervisor are gone
  container/NAME=STATE  the container is running, healthy, exited or gone

With several --for, each is waited for, one after the other. A condition counts only
while a supervisor keeps it. A container need not exist yet. One that has exited and
is gone already, as with "docker run --rm", counts as exited if it went during the
wait or in the ten seconds before, or if it is named by its ID.`,
		Example: `  docker rd wait --for stopped --timeout 1m
  docker rd wait dev --for container/db=healthy`,
	}, func(args []string) (*instance.Instance, error) {
		return a.salvage(a.loadForObjects(args))
	}, func(cmd *cobra.Command, i *instance.Instance) error {
		ctx, cancel := withTimeout(cmd.Context(), timeout)
		defer cancel()
		for _, target := range targets {
			if err := runWait(ctx, i, target); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Flags().StringArrayVar(&targets, "for", []string{state.Ready}, "What to wait for")
	_ = cmd.RegisterFlagCompletionFunc("for", a.completeTarget)
	addTimeout(cmd.Flags(), &timeout, 30*time.Second)
	return cmd
}

// completeTarget completes what can be waited for.
func (a *app) completeTarget(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if !strings.HasPrefix(word, containerPrefix) {
		if typ, _, ok := strings.Cut(word, "="); ok {
			return []string{typ + "=True", typ + "=False", typ + "=Unknown"}, cobra.ShellCompDirectiveNoFileComp
		}
		words := []string{
			cobra.CompletionWithDesc(waitStopped, "engine and supervisor are gone"),
			cobra.CompletionWithDesc(containerPrefix, "a container is "+strings.Join(containerStates, ", ")),
		}
		for _, typ := range conditionTypes {
			words = append(words, cobra.CompletionWithDesc(typ, conditionMeanings[typ]))
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	var words []string
	for _, name := range a.objectWords(objects.Containers(), args, nil) {
		for _, want := range containerStates {
			words = append(words, containerPrefix+name+"="+want)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func runWait(ctx context.Context, i *instance.Instance, target string) error {
	if strings.HasPrefix(target, containerPrefix) {
		return runWaitContainer(ctx, i, target)
	}
	reached, err := parseTarget(target)
	if err != nil {
		return err
	}
	var last instance.Observation
	if target == waitStopped {
		err = client.AwaitStopped(ctx, i)
		last = instance.Observe(i)
	} else {
		err = client.Follow(ctx, i, func(o instance.Observation) (bool, error) {
			last = o
			if err := client.RefuseNewer(i, o.StateErr); err != nil || reached(o) {
				return false, err
			}
			return true, client.Failed(ctx, i, o)
		})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &client.Error{Instance: i, Problem: client.Unanswered,
			Err: failure.Timeout("instance %q: not %s in time, but %s", i.Name, target, howItIs(i, last, target))}
	}
	return err
}

// parseTarget returns a function that reports whether the condition is reached; nil for
// waitStopped.
func parseTarget(target string) (func(instance.Observation) bool, error) {
	if target == waitStopped {
		return nil, nil
	}
	typ, status, ok := strings.Cut(target, "=")
	if !ok {
		status = string(state.True)
	}
	if !slices.Contains(conditionTypes, typ) {
		return nil, unknown("condition", typ, append(slices.Clone(conditionTypes), waitStopped))
	}
	want := state.Status(status)
	if want != state.True && want != state.False && want != state.Unknown {
		return nil, failure.Refuse("status %q of condition %s: it can be True, False or Unknown", status, typ)
	}
	return func(o instance.Observation) bool { return o.Condition(typ).Status == want }, nil
}

// howItIs describes what was found instead of the target.
func howItIs(i *instance.Instance, o instance.Observation, target string) string {
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
