package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) newRestart() *cobra.Command {
	var o severalOptions
	cmd := &cobra.Command{
		Use:   "restart [OPTIONS] [INSTANCE...]",
		Short: "Restart engines with the remembered settings",
		Long: `Stop engines and start them again with the remembered settings.

Contexts stay as they are, the current one too. If an engine does not start with settings
that waited for the restart, it is started with its former settings.`,
		ValidArgsFunction: completing(a.instanceWords),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := a.namesOf(args, o.all, a.chooseToEnd(cmd.Name()))
			if err != nil {
				return err
			}
			ctx, cancel, how := patience(cmd.Context(), o.timeout)
			defer cancel()
			return a.onSeveral(o.progress.value, names, func(name string, t reporter) error {
				i, err := loadNamed(name)
				if err != nil {
					return err
				}
				a.repair(ctx, i.DockerConfig)
				return a.restart(ctx, cmd.Context(), i, how, t)
			})
		},
	}
	o.add(cmd, "Restart", 2*time.Minute)
	return cmd
}

// restart stops and starts the instance. At a timeout the start goes on: there was an engine
// before. Whole is ctx without its deadline, which the stop may outlast.
func (a *app) restart(ctx, whole context.Context, i *instance.Instance, how client.StartOptions, t reporter) (err error) {
	defer func() {
		if err != nil { // it may have stopped, and its context is still the current one
			a.repair(context.WithoutCancel(ctx), i.DockerConfig)
		}
	}()
	// Do not stop what could not be started again.
	if err := check(i); err != nil {
		return err
	}
	if err := client.CheckFiles(i); err != nil {
		return err
	}
	before := beforeRestart{i.Started(), i.Pending(), instance.Observe(i).Condition(state.ContextPromoted).Reason == state.ReasonPromoted}
	stop := t.of(i.Name, "stop").because(tailOf(i.Paths.EngineLog()))
	stop.doing("Engine is stopping", "Engine is not stopped")
	stopped, err := client.Stop(whole, i, client.ToRestart())
	if err != nil {
		return err
	}
	if len(stopped.Killed) > 0 {
		a.warn("%s", killed(stopped.Killed))
	}
	stop.did("Engine has stopped")
	how.GoOn = true
	if ctx.Err() == nil {
		err := a.start(ctx, i, how, t)
		if len(before.pending) > 0 && (client.Is(err, client.EngineFailed) || client.Is(err, client.Crashed)) {
			return a.goBack(ctx, i, before, err, t)
		}
		return err
	}
	// The stop took all the time. Start again what ran before.
	launch, cancel := context.WithTimeout(whole, launchTime)
	defer cancel()
	if _, err := client.Start(launch, i, client.StartOptions{Detach: true, GoOn: true}); err != nil {
		return err
	}
	return &client.Error{Instance: i, Problem: client.NotReady,
		Err: failure.Timeout("instance %q has not stopped and started in time; it goes on starting", i.Name)}
}

// launchTime bounds the launch of what goes on starting when the time is up.
const launchTime = 10 * time.Second

type beforeRestart struct {
	settings instance.Settings // that the engine ran with
	pending  []string          // what waited for the restart
	promoted bool              // the context was current, by docker rd's doing
}

// goBack starts an instance as it was before it failed with the settings that had waited for
// the restart, and returns that failure. The former settings are restored.
func (a *app) goBack(ctx context.Context, i *instance.Instance, before beforeRestart, failed error, t reporter) error {
	with := strings.Join(before.pending, ", ")
	t.of(i.Name, state.EngineReady).warned(fmt.Sprintf("Engine does not start with %s, and is started as before", with))
	err := i.Update(ctx, func(s *instance.Settings) error {
		*s = before.settings
		return nil
	})
	if err == nil {
		err = a.start(ctx, i, client.StartOptions{GoOn: true}, t)
	}
	if err != nil {
		return fmt.Errorf("%w; nor can it be started without %s, as before: %w", failed, with, err)
	}
	if before.promoted {
		promoteAgain(ctx, i, t.of(i.Name, state.ContextPromoted))
	}
	again := fmt.Errorf("%w; it runs again without %s, as before", failed, with)
	if failure.Hint(failed) != "" {
		return again
	}
	h := a.hinter()
	return failure.WithHint(again, "%s shows more; %s tries it again",
		h.run(logsOf(i), i.Name), h.run("set", i.Name, shellQuoteAll(before.pending), "--restart"))
}

// promoteAgain makes an instance's context current that a start which failed has replaced.
func promoteAgain(ctx context.Context, i *instance.Instance, t reporter) {
	docker, err := contexts.Config(i)
	if err != nil {
		return
	}
	owner := contexts.Owner(i)
	out := docker.Promote(ctx, docker.Judge(ctx, owner, dockercontext.PromoteAlways), owner, dockercontext.PromoteOptions{Policy: dockercontext.PromoteAlways})
	if out.Reason != state.ReasonAlreadyCurrent {
		t.did(out.Message)
	}
}
