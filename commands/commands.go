// Package commands holds the verbs of docker rd, one a file: its options, its
// command, and what it does.
package commands

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/supervisor"
)

// instanceEnv names the environment variable that sets the default instance.
const instanceEnv = "DOCKER_RD_INSTANCE"

// ExitStatus is an error without a message: the status of a command that was run, or
// an answer that was printed already.
type ExitStatus int

func (s ExitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// app is what every command has: docker's side, and the instance that is meant.
type app struct {
	docker   command.Cli
	instance string // --instance
}

// Add adds all commands and the options that they share to root.
func Add(root *cobra.Command, docker command.Cli) {
	a := &app{docker: docker}
	root.PersistentFlags().StringVarP(&a.instance, "instance", "i", "", "Instance to work on (default: $"+instanceEnv+" or \"default\")")
	_ = root.RegisterFlagCompletionFunc("instance", a.completeInstances)
	root.AddCommand(
		a.newStart(),
		a.newStop(),
		a.newRestart(),
		a.newRm(),
		a.newLs(),
		a.newStatus(),
		a.newSet(),
		a.newLogs(),
		a.newWait(),
		a.newRun(),
		a.newEnv(),
		a.newPaths(),
		a.newDiagnose(),
		a.newContext(),
		a.newVersion(),
		a.newGet(),
		a.newWatch(),
		a.newSync(),
		a.newAction(),
		a.newDelete(),
	)
}

// Context returns the context that commands are to be run with: under it, whoever has
// to wait for a lock tells for whom.
func Context(ctx context.Context, docker command.Cli) context.Context {
	a := &app{docker: docker}
	return lock.WithBlocked(ctx, func(e *lock.HeldError) { a.note("waiting: %v", e) })
}

func (a *app) out() io.Writer { return a.docker.Out() }
func (a *app) err() io.Writer { return a.docker.Err() }

// note prints a line that is no error and not what was asked for.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintf(a.err(), "note: "+format+"\n", args...)
}

// name returns the instance that a command is about: its argument, --instance,
// $DOCKER_RD_INSTANCE, or the default.
func (a *app) name(args []string) (string, error) {
	name := a.instance
	if len(args) > 0 {
		if name != "" && name != args[0] {
			return "", failure.Usage("two instances are named: %q and --instance %q", args[0], name)
		}
		return args[0], engine.CheckName(args[0]) // an empty one, a script's mistake, is not the default
	}
	if name == "" {
		name = os.Getenv(instanceEnv)
	}
	if name == "" {
		name = engine.DefaultName
	}
	return name, engine.CheckName(name)
}

// load returns the instance that a command is about; it must exist.
func (a *app) load(args []string) (*engine.Instance, error) {
	name, err := a.name(args)
	if err != nil {
		return nil, err
	}
	return loadNamed(name)
}

func loadNamed(name string) (*engine.Instance, error) {
	roots, err := engine.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return engine.Load(roots, name)
}

// A loader finds the instance that a command's arguments name: [app.load] or
// [app.loadAnyway].
type loader func(args []string) (*engine.Instance, error)

// onInstance makes cmd a command that is about one instance, which must exist: it is the
// only argument, if one is given.
func (a *app) onInstance(cmd *cobra.Command, load loader, run func(cmd *cobra.Command, i *engine.Instance) error) *cobra.Command {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.ValidArgsFunction = a.completeInstance
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, err := load(args)
		if err != nil {
			return err
		}
		return run(cmd, i)
	}
	return cmd
}

// loadAnyway is load for commands that an instance whose settings are damaged must not
// be in the way of: it can be looked at, stopped and removed by a copy.
func (a *app) loadAnyway(args []string) (*engine.Instance, error) {
	name, err := a.name(args)
	if err != nil {
		return nil, err
	}
	return a.salvage(loadNamed(name))
}

// salvage is [engine.Salvage] that says so.
func (a *app) salvage(i *engine.Instance, err error) (*engine.Instance, error) {
	salvaged, still := engine.Salvage(i, err)
	if err != nil && still == nil {
		_, _ = fmt.Fprintf(a.err(), "warning: %v\n", err)
	}
	return salvaged, still
}

// loadRunning returns the instance, which must have a supervisor to ask.
func (a *app) loadRunning() (*engine.Instance, error) {
	i, err := a.load(nil)
	if err != nil {
		return nil, err
	}
	return i, supervisor.TakesRequests(i)
}

// dockerConfig returns the Docker configuration directory in force: --config,
// DOCKER_CONFIG or ~/.docker. It is absolute, since it is remembered.
func dockerConfig() (string, error) {
	dir, err := filepath.Abs(config.Dir())
	if err != nil {
		return "", fmt.Errorf("docker configuration directory: %w", err)
	}
	return dir, nil
}

// completeInstances completes the name of an instance.
func (a *app) completeInstances(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	roots, err := engine.DefaultRoots()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, _ := engine.Names(roots)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeInstance completes the one instance that a command takes.
func (a *app) completeInstance(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeInstances(cmd, args, word)
}

// withTimeout is context.WithTimeout, where 0 is no limit.
func withTimeout(ctx context.Context, limit flagDuration) (context.Context, context.CancelFunc) {
	if limit.d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit.d)
}
