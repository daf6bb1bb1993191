package commands

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type stopOptions struct {
	severalOptions
	force bool
}

func (a *app) newStop() *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS] [INSTANCE...]",
		Short: "Stop engines and wait until they are gone",
		Long: `Stop engines and wait until they are gone.

Each container has its own time to stop (docker run --stop-timeout), or the --timeout if
that is longer. A container that does not stop in time is killed, and named.

An adopted engine (driver existing) keeps running; docker rd only disconnects.`,
		ValidArgsFunction: completing(a.instanceWords),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runStop(cmd, o, args) },
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Do not wait for containers to stop")
	o.add(cmd, "Stop", time.Minute)
	return cmd
}

func (a *app) runStop(cmd *cobra.Command, o stopOptions, args []string) error {
	names, err := a.namesOf(args, o.all, a.chooseToEnd(cmd.Name()))
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(cmd.Context(), o.timeout)
	defer cancel()
	return a.onSeveral(o.progress.value, names, func(name string, t reporter) error {
		i, err := a.salvage(loadNamed(name))
		if err != nil {
			return err
		}
		return a.stop(ctx, i, o, t)
	})
}

// patience is how long containers may take to stop: a little less than the --timeout, so that
// the command can still name those that were killed. 0 leaves each its own time.
func (o stopOptions) patience() time.Duration {
	const margin = 5 * time.Second
	switch {
	case !o.timeout.given:
		return 0
	case o.timeout.value == 0:
		return math.MaxInt64
	}
	return max(0, o.timeout.value-margin)
}

func killed(names []string) string {
	if len(names) == 1 {
		return "container " + quoted(names) + " was killed"
	}
	return "containers " + quoted(names) + " were killed"
}

func (a *app) stop(ctx context.Context, i *instance.Instance, o stopOptions, t reporter) error {
	if !client.Stopped(i) {
		tellStopping(i, t)
	}
	before := useOf(i)
	stopped, err := client.Stop(ctx, i, client.StopOptions{Force: o.force, Patience: o.patience()})
	if err != nil {
		return err
	}
	a.repair(ctx, i.DockerConfig)
	what := "is stopped"
	if !stopped.Ran {
		what = "is not running"
	}
	if len(stopped.Killed) > 0 {
		a.warn("%s", killed(stopped.Killed))
	}
	t.did(fmt.Sprintf("Instance %q %s", i.Name, what))
	tellUse(i, before, useOf(i), t)
	return nil
}

// A use says what leads to an instance's engine by default.
type use struct {
	current string // the current context of its Docker configuration
	socket  bool   // the instance has claimed the default socket
	ours    bool   // docker rd made the instance's context the current one

	other       string // the other instance that the current context belongs to, if any
	otherSocket bool   // whether that has the default socket
}

func useOf(i *instance.Instance) use {
	o := instance.Observe(i)
	u := use{
		socket: o.Condition(state.SocketClaimed).Status == state.True,
		ours:   o.Condition(state.ContextPromoted).Reason == state.ReasonPromoted,
	}
	docker, err := contexts.Config(i)
	if err != nil {
		return u
	}
	current, _ := docker.Current()
	u.current = cmp.Or(current, endpoint.DefaultContext)
	if name := ownedBy(docker, u.current); name != "" && name != i.Name {
		owner, _ := docker.OwnerOf(u.current)
		u.other, u.otherSocket = name, docker.Claimed(owner).Reason == state.ReasonClaimed
	}
	return u
}

// tellUse tells what became of the current context and of the default socket with a stop.
func tellUse(i *instance.Instance, before, after use, t reporter) {
	step := t.of(i.Name, state.ContextPromoted)
	switch {
	case !i.OwnsContext() || before.current != i.Context():
	case after.other != "":
		step.did(fmt.Sprintf("The current context is %q now, of instance %q", after.current, after.other))
	case after.current != i.Context():
		step.did(fmt.Sprintf("The current context is %q again", after.current))
	default:
		why := "you chose it"
		if before.ours {
			why = "it could not be replaced"
		}
		step.warned(fmt.Sprintf("The current context is still %q, whose engine is stopped: %s. `docker%s context use default` chooses another one",
			i.Context(), why, configFlag(i.DockerConfig)))
	}
	step = t.of(i.Name, state.SocketClaimed)
	switch {
	case !before.socket || after.socket:
	case after.otherSocket:
		step.did(fmt.Sprintf("The default socket leads to instance %q now", after.other))
	default:
		step.did("The default socket is given back")
	}
}

// tellStopping tells that an instance is stopping. If that takes long, it shows what the
// engine logs.
func tellStopping(i *instance.Instance, t reporter) {
	t.because(tailOf(i.Paths.EngineLog())).doing(
		fmt.Sprintf("Instance %q is stopping", i.Name), fmt.Sprintf("Instance %q is not stopped", i.Name))
}
