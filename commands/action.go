package commands

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/objects"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor"
)

// actionDone says what a container is after an action.
var actionDone = map[string]string{
	mirror.ActionStart:   "started",
	mirror.ActionStop:    "stopped",
	mirror.ActionPause:   "paused",
	mirror.ActionUnpause: "unpaused",
	mirror.ActionRestart: "restarted",
}

func (a *app) newAction() *cobra.Command {
	var timeout flagDuration
	cmd := &cobra.Command{
		Use:   "action [OPTIONS] CONTAINER " + strings.Join(mirror.Actions(), "|"),
		Short: "Start, stop, pause, unpause or restart a container",
		Long: `Have the supervisor do something to a container and wait for the outcome, which is
also recorded on the container in the mirror (lastAction). What is so already
succeeds. When the time is up, a request that was not begun is taken back.`,
		Example: `  docker rd action web restart`,
		Args:    takes(2, 2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return a.objectWords(objects.Containers(), nil, nil), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return mirror.Actions(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			return a.runAction(ctx, args[0], args[1])
		},
	}
	addTimeout(cmd.Flags(), &timeout, 2*time.Minute)
	return cmd
}

func (a *app) runAction(ctx context.Context, word, action string) error {
	if !slices.Contains(mirror.Actions(), action) {
		return failure.WithHint(failure.Refuse("unknown action %q", action), "actions are %s", strings.Join(mirror.Actions(), ", "))
	}
	i, err := a.loadRunning()
	if err != nil {
		return err
	}
	s, err := readState(i)
	if err != nil {
		return err
	}
	k := objects.Containers()
	key, err := k.One(s, word)
	if err != nil {
		return err
	}
	o, err := supervisor.Request(ctx, i, mirror.Request{
		Type: mirror.RequestAction, Kind: state.Containers, Key: key, Name: word, Action: action,
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", action, k.Text(word), err)
	}
	if o.State != state.ActionSucceeded {
		return fmt.Errorf("%s %s: %s", action, k.Text(word), o.Error)
	}
	_, err = fmt.Fprintf(a.out(), "Container %q is %s\n", word, actionDone[action])
	return err
}
