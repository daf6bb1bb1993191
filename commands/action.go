package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// actionWords say what an action is doing to a container, and what it has done.
var actionWords = map[string]struct{ doing, done string }{
	requests.ActionStart:   {"being started", "started"},
	requests.ActionStop:    {"being stopped", "stopped"},
	requests.ActionPause:   {"being paused", "paused"},
	requests.ActionUnpause: {"being unpaused", "unpaused"},
	requests.ActionRestart: {"being restarted", "restarted"},
}

func (a *app) newAction() *cobra.Command {
	var o longOptions
	cmd := &cobra.Command{
		Use:   "action [OPTIONS] CONTAINER " + strings.Join(requests.Actions(), "|"),
		Short: "Start, stop, pause, unpause or restart a container",
		Long: `Start, stop, pause, unpause or restart a container and wait for the outcome.

The supervisor does it, and records the outcome on the container in the mirror
(lastAction). An action that changes nothing succeeds. At the timeout, a request that
has not begun is withdrawn.`,
		Example: `  docker rd action web restart`,
		Args:    takes(2, 2),
		ValidArgsFunction: completing(func(args []string, _ string) []string {
			switch len(args) {
			case 0:
				return a.objectWords(objects.Containers(), nil, nil)
			case 1:
				return requests.Actions()
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inTime(cmd.Context(), o, func(ctx context.Context, t reporter) error {
				return a.runAction(ctx, t, args[0], args[1])
			})
		},
	}
	o.add(cmd, 2*time.Minute)
	return cmd
}

func (a *app) runAction(ctx context.Context, t reporter, word, action string) error {
	if !slices.Contains(requests.Actions(), action) {
		return unknown("action", action, requests.Actions())
	}
	i, where, err := a.loadRunning()
	if err != nil {
		return err
	}
	k, key := objects.Containers(), ""
	err = a.find(ctx, i, func(s *state.State) (err error) {
		key, err = k.One(s, word)
		return err
	})
	if err != nil {
		return named(action, k.Text(word), err)
	}
	t = t.of(i.Name, "action")
	t.doing(fmt.Sprintf("Container %q is %s%s", word, actionWords[action].doing, where),
		fmt.Sprintf("Container %q is not %s%s", word, actionWords[action].done, where))
	o, err := client.Request(ctx, i, requests.Request{
		Type: requests.RequestAction, Kind: state.Containers, Key: key, Name: word, Action: action,
	})
	if err != nil {
		return named(action, k.Text(word), err)
	}
	if o.State != state.ActionSucceeded {
		return fmt.Errorf("%s %s: %s", action, k.Text(word), o.Error)
	}
	t.did(fmt.Sprintf("Container %q is %s%s", word, actionWords[action].done, where))
	return nil
}
