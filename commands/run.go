package commands

import (
	"context"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/foreground"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func (a *app) newRun() *cobra.Command {
	var noStart bool
	var o longOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] -- COMMAND [ARG...]",
		Short: "Run a command that sees only an instance's engine",
		Long: `Run a command that sees only an instance's engine.

The instance is started if necessary. The exit status is the command's, or 128+n if
signal n ended it; 125 if docker-rd failed, 126 if the command can't be executed, 127 if
it does not exist.`,
		Example: `  docker rd run -- docker ps
  docker rd run -i dev -- make test`,
		Args: takes(1, many),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.forRun(cmd.Context(), noStart, o)
			if err != nil {
				if code := failure.Code(err); code != failure.CodeInterrupted {
					err = failure.WithCode(err, failure.CodeUsage)
				}
				return err
			}
			if i.Settings.Engine == instance.KindContainerd {
				// Programs of containerd's make files that it opens by their names.
				return enter(cmd.Context(), i, args)
			}
			return run(cmd.Context(), i, args)
		},
	}
	// Flags after COMMAND belong to it.
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVar(&noStart, "no-start", false, "Fail if the instance is not running")
	o.add(cmd, 2*time.Minute)
	return cmd
}

// forRun returns the instance, and starts it if it does not run.
func (a *app) forRun(ctx context.Context, noStart bool, o longOptions) (*instance.Instance, error) {
	ctx, cancel, how := patience(ctx, o.timeout)
	defer cancel()
	c, err := a.noted(a.chooseForObjects(nil))
	if err != nil {
		return nil, err
	}
	if noStart {
		i, err := loadNamed(c.name)
		if err != nil {
			return nil, err
		}
		return i, checkUsable(i, instance.Observe(i))
	}
	i, err := a.prepare(ctx, c.name, func(*instance.Settings) error { return nil })
	if err != nil {
		return nil, err
	}
	if instance.Observe(i).Condition(state.Ready).Status == state.True {
		return i, nil
	}
	a.repair(ctx, i.DockerConfig)
	return i, a.withProgressAside(o.progress.value, func(t reporter) error { return a.start(ctx, i, how, t.of(i.Name, progress.Itself)) })
}

// run runs the command and returns its exit status as an error. It gets the files, from number 3 on.
func run(ctx context.Context, i *instance.Instance, args []string, files ...*os.File) error {
	env, err := commandEnv(i, os.Environ())
	if err != nil {
		return failure.WithCode(err, failure.CodeUsage)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.ExtraFiles = env, files
	status, err := foreground.Run(ctx, cmd) // docker asks us to end by cancelling ctx
	switch {
	case err != nil:
		return failure.WithCode(err, status)
	case status != 0:
		return ExitStatus(status)
	}
	return nil
}
