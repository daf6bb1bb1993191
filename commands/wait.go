package commands

import (
	"context"
	"errors"
	"fmt"
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

// waitStopped is what is waited for instead of a condition: no engine, no supervisor.
const waitStopped = "stopped"

func (a *app) newWait() *cobra.Command {
	var target string
	var timeout flagDuration
	cmd := a.onInstance(&cobra.Command{
		Use:   "wait [OPTIONS] [INSTANCE]",
		Short: "Wait for a condition of an instance or a container",
		Long: `Wait for a condition of an instance or a container. What to wait for can be

  CONDITION[=STATUS]    ` + strings.Join(conditionTypes, ", ") + `:
                        True unless the status is given as False or Unknown
  stopped               engine and supervisor are gone
  container/NAME=STATE  the container is running, healthy, exited or gone

A condition counts only while a supervisor keeps it. A container need not exist yet.`,
		Example: `  docker rd wait --for stopped --timeout 1m
  docker rd wait dev --for container/db=healthy`,
	}, func(args []string) (*instance.Instance, error) {
		return a.salvage(a.loadForObjects(args))
	}, func(cmd *cobra.Command, i *instance.Instance) error {
		ctx, cancel := withTimeout(cmd.Context(), timeout)
		defer cancel()
		return runWait(ctx, i, target)
	})
	cmd.Flags().StringVar(&target, "for", state.Ready, "What to wait for")
	_ = cmd.RegisterFlagCompletionFunc("for", a.completeTarget)
	addTimeout(cmd.Flags(), &timeout, 30*time.Second)
	return cmd
}

// completeTarget completes what can be waited for.
func (a *app) completeTarget(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if !strings.HasPrefix(word, containerPrefix) {
		return append(slices.Clone(conditionTypes), waitStopped, containerPrefix),
			cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
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

// containerPrefix begins a target that is a container's.
const containerPrefix = "container/"

// Targets of a container.
const (
	isRunning = "running"
	isHealthy = "healthy"
	isExited  = "exited"
	isGone    = "gone"
)

var containerStates = []string{isRunning, isHealthy, isExited, isGone}

// runWaitContainer waits until a container is as the target says. Only a mirror that
// is kept up to date counts.
func runWaitContainer(ctx context.Context, i *instance.Instance, target string) error {
	word, want, _ := strings.Cut(strings.TrimPrefix(target, containerPrefix), "=")
	if word == "" || !slices.Contains(containerStates, want) {
		return failure.Refuse("target %q: it can be %sNAME=running, healthy, exited or gone", target, containerPrefix)
	}
	k := objects.Containers()
	found := "no supervisor runs"
	err := client.FollowObjects(ctx, i, func(o instance.Observation) (bool, error) {
		if err := client.RefuseNewer(i, o.StateErr); err != nil {
			return false, err
		}
		if o.State == nil {
			return true, nil
		}
		if found = staleness(o.State, o.Live, time.Now()); found != "" {
			return true, client.Failed(ctx, i, o)
		}
		keys := k.Find(o.State, word)
		if len(keys) == 0 {
			found = "there is none"
			return want != isGone, nil
		}
		key, err := k.One(o.State, word)
		if err != nil {
			return false, err
		}
		c := o.State.Containers[key]
		found = fmt.Sprintf("it is %s", c.State)
		if c.Health != state.HealthNone && c.Health != "" {
			found += fmt.Sprintf(" (%s)", c.Health)
		}
		switch {
		case want == isHealthy && c.State == state.StateRunning && c.Health == state.HealthNone:
			return false, failure.Refuse("container %q has no health check", word)
		case want == isHealthy:
			return c.State != state.StateRunning || c.Health != state.HealthHealthy, nil
		}
		return c.State != want, nil // the targets are named as the states
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return hinted(failure.Timeout("instance %q: container %q is not %s in time: %s", i.Name, word, want, found), func(h hinter) string {
			return fmt.Sprintf("`docker-rd get%s containers %s` tells more", h.flag(i.Name), shellQuote(word))
		})
	}
	return err
}

// parseTarget returns what tells whether the target, a condition, is reached; nil for
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
