package commands

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/foreground"
	"github.com/docker-rd/docker-rd/internal/programs"
)

func (a *app) newShell() *cobra.Command {
	return &cobra.Command{
		Use:   "shell [OPTIONS] [INSTANCE] [-- COMMAND [ARG...]]",
		Short: "Run a shell where an engine runs",
		Long: `Run a shell, or a command, in the namespaces of an engine: in its network and its
mounts, and for an ordinary user's engine with its users; or in its virtual machine.
It shows what containers see: bridges, routes, iptables rules, name servers, bind
mounts.`,
		Example: `  docker rd shell
  docker rd shell dev -- ip address`,
		Args: func(cmd *cobra.Command, args []string) error {
			return takes(0, 1)(cmd, instanceArgs(cmd, args))
		},
		ValidArgsFunction: completing(a.instanceWord),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := a.loadForObjects(instanceArgs(cmd, args))
			if err != nil {
				return err
			}
			command := args[len(instanceArgs(cmd, args)):]
			return enter(cmd.Context(), i, command)
		},
	}
}

// enter runs a command in the namespaces of the instance's engine.
func enter(ctx context.Context, i *instance.Instance, command []string) error {
	if i.Settings.Adopts() {
		return failure.Refuse("instance %q adopts an engine, whose namespaces docker rd can't enter", i.Name)
	}
	id, ok := i.EngineProcess()
	if !ok {
		return notRunning(i)
	}
	if ssh := engine.SSH(i); ssh != nil {
		return run(ctx, i, append(append([]string{"ssh", "-q", "-t"}, ssh...), shellQuoteAll(command)))
	}
	if len(command) == 0 {
		command = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
	}
	nsenter, err := programs.Find("nsenter")
	if err != nil {
		return err
	}
	args := []string{nsenter, "--target", strconv.Itoa(id.PID), "--mount", "--net", "--cgroup"}
	if i.Settings.Driver != instance.DriverDockerd {
		args = append(args, "--user", "--preserve-credentials")
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	self, err := programs.Self()
	if err != nil {
		return err
	}
	pids, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", id.PID))
	if err != nil {
		return err
	}
	defer pids.Close()
	return run(ctx, i, slices.Concat(args, []string{"--", self, foreground.ExecArg, dir}, command), pids)
}
