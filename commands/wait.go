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

// conditionMeanings say what True means for each condition.
var conditionMeanings = map[string]string{
	state.Ready:           "the engine can be used, as after a start",
	state.EngineReady:     "the engine answers",
	state.ContextReady:    "the context exists",
	state.ContextPromoted: "the context is the current one",
	state.SocketClaimed:   "the default socket leads to the engine",
	state.MirrorSynced:    "the mirror is complete",
}

// waitStopped is a target that is no condition: no engine, no supervisor.
const waitStopped = "stopped"

func (a *app) newWait() *cobra.Command {
	var targets []string
	var o longOptions
	cmd := a.onInstance(&cobra.Command{
		Use:   "wait [OPTIONS] [INSTANCE]",
		Short: "Wait for a condition of an instance or a container",
		Long: `Wait for a condition of an instance or a container. What to wait for can be

  CONDITION[=STATUS]    ` + strings.Join(conditionTypes, ", ") + `:
                        True unless the status is given as False or Unknown
  stopped               engine and supervisor are gone
  container/NAME=STATE  the container is running, healthy, exited or gone

Several --for are waited for one after the other. A condition counts only while a
supervisor runs. A container need not exist yet. One that has exited and was removed, as
with "docker run --rm", counts as exited if that was during the wait or in the ten
seconds before, or if it is named by its ID.`,
		Example: `  docker rd wait --for stopped --timeout 1m
  docker rd wait dev --for container/db=healthy`,
	}, func(args []string) (*instance.Instance, error) {
		return a.salvage(a.loadForObjects(args))
	}, func(cmd *cobra.Command, i *instance.Instance) error {
		waits := make([]wait, len(targets))
		for n, target := range targets { // before the first is waited for
			var err error
			if waits[n], err = a.parseTarget(target); err != nil {
				return err
			}
		}
		return a.inTime(cmd.Context(), o, func(ctx context.Context, t reporter) error {
			for n, wait := range waits {
				if err := wait(ctx, i, t.of(i.Name, targets[n])); err != nil {
					return err
				}
			}
			return nil
		})
	})
	cmd.Flags().StringArrayVar(&targets, "for", []string{state.Ready}, "What to wait for")
	_ = cmd.RegisterFlagCompletionFunc("for", completing(a.targetWords))
	o.add(cmd, 30*time.Second)
	return cmd
}

func (a *app) targetWords(args []string, word string) (words []string) {
	if !strings.HasPrefix(word, containerPrefix) {
		if typ, _, ok := strings.Cut(word, "="); ok {
			return []string{typ + "=True", typ + "=False", typ + "=Unknown"}
		}
		words = []string{
			cobra.CompletionWithDesc(waitStopped, "engine and supervisor are gone"),
			cobra.CompletionWithDesc(containerPrefix, "a container is "+strings.Join(containerStates, ", ")),
		}
		for _, typ := range conditionTypes {
			words = append(words, cobra.CompletionWithDesc(typ, conditionMeanings[typ]))
		}
		return words
	}
	for _, container := range a.objectWords(objects.Containers(), args, nil) {
		name, about, _ := strings.Cut(container, "\t")
		for _, want := range containerStates {
			words = append(words, described(containerPrefix+name+"="+want, about))
		}
	}
	return words
}

// A wait waits until an instance is as a target says.
type wait func(ctx context.Context, i *instance.Instance, t reporter) error

func (a *app) parseTarget(target string) (wait, error) {
	if container, ok := strings.CutPrefix(target, containerPrefix); ok {
		return a.parseContainer(target, container)
	}
	typ, word, ok := strings.Cut(target, "=")
	want := state.Status(word)
	switch {
	case target == waitStopped:
		return waitUntilStopped, nil
	case !ok:
		want = state.True
	}
	if !slices.Contains(conditionTypes, typ) {
		return nil, unknown("condition", typ, append(slices.Clone(conditionTypes), waitStopped))
	}
	if want != state.True && want != state.False && want != state.Unknown {
		return nil, failure.Refuse("status %q of condition %s: it can be True, False or Unknown", word, typ)
	}
	return func(ctx context.Context, i *instance.Instance, t reporter) error {
		return waitForCondition(ctx, i, target, typ, want, t)
	}, nil
}

func waitForCondition(ctx context.Context, i *instance.Instance, target, typ string, want state.Status, t reporter) error {
	var last instance.Observation
	look := func(o instance.Observation) (more bool, err error) {
		last = o
		if err := client.RefuseNewer(i, o.StateErr); err != nil || o.Condition(typ).Status == want {
			return false, err
		}
		t.live(fmt.Sprintf("Waiting for %s of instance %q: %s", target, i.Name, howItIs(o.Condition(typ))),
			fmt.Sprintf("Instance %q: %s is not %s", i.Name, typ, want))
		return true, client.Failed(ctx, i, o)
	}
	err := client.Follow(ctx, i, look)
	if more := false; errors.Is(err, context.DeadlineExceeded) { // perhaps before the first look
		if more, err = look(instance.Observe(i)); more {
			return notInTime(i, target, howItIs(last.Condition(typ)))
		}
	}
	if err != nil {
		return err
	}
	t.did(fmt.Sprintf("Instance %q: %s is %s", i.Name, typ, want))
	return nil
}

// waitUntilStopped waits until engine and supervisor are gone.
func waitUntilStopped(ctx context.Context, i *instance.Instance, t reporter) error {
	t.live(fmt.Sprintf("Waiting for instance %q to be stopped", i.Name), fmt.Sprintf("Instance %q is not stopped", i.Name))
	err := client.AwaitStopped(ctx, i)
	if errors.Is(err, context.DeadlineExceeded) {
		return notInTime(i, waitStopped, client.Status(instance.Observe(i), i))
	}
	if err == nil {
		t.did(fmt.Sprintf("Instance %q is stopped", i.Name))
	}
	return err
}

func notInTime(i *instance.Instance, target, found string) error {
	return &client.Error{Instance: i, Problem: client.Unanswered,
		Err: failure.Timeout("instance %q: not %s in time, but %s", i.Name, target, found)}
}

func howItIs(c state.Condition) string {
	text := string(c.Status)
	if c.Reason != "" {
		text += fmt.Sprintf(" (%s)", c.Reason)
	}
	if c.Message != "" {
		text += ": " + c.Message
	}
	return text
}
