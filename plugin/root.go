package plugin

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/docker/cli/cli"
	cliplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/version"
)

// newRoot returns the command `docker rd` with all that is below it.
func newRoot(dockerCLI command.Cli) *cobra.Command {
	root := &cobra.Command{
		Use:   Name,
		Short: "Your own Docker engines, by name",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		TraverseChildren:  true,
		Version:           version.Version(),
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := cliplugin.PersistentPreRunE(cmd, args); err != nil {
				return status(err)
			}
			// docker cancels the context when it is told to stop without a terminal;
			// on a terminal, and standalone, the signal comes to us.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop) // a second one ends us at once
			cmd.SetContext(commands.Context(ctx, dockerCLI))
			return nil
		},
	}
	root.SetVersionTemplate("docker-rd version {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return status(usage(cmd, err))
	})
	commands.Add(root, dockerCLI)
	root.AddCommand(newCompletion())
	wrap(root)
	return root
}

// wrap makes every command's errors into what docker's plugin code prints and exits
// with.
func wrap(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		wrap(sub)
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return status(usage(cmd, err))
			}
			return nil
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return status(run(cmd, args)) }
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := "docker-rd --help lists the commands"
	if similar := cmd.SuggestionsFor(name); len(similar) > 0 {
		hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return failure.WithHint(failure.Usage("unknown command %q", name), "%s", hint)
}

// usage makes an error of the command line one of ours.
func usage(cmd *cobra.Command, err error) error {
	return failure.WithHint(failure.WithCode(err, failure.CodeUsage), "%s --help", standaloneName(cmd))
}

// standaloneName is the command as it can be typed even where docker does not reach
// its plugins.
func standaloneName(cmd *cobra.Command) string {
	path := cmd.CommandPath()
	if i := strings.Index(path, " "+Name); i >= 0 {
		path = path[i+1:]
	}
	return "docker-" + path
}

// status makes an error into the form that docker's plugin code prints: one line,
// and one for the hint.
func status(err error) error {
	if err == nil {
		return nil
	}
	var silent commands.ExitStatus
	if errors.As(err, &silent) {
		// The plugin code would print an empty line for a status without a text.
		os.Exit(int(silent))
	}
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	if errors.Is(err, context.Canceled) && failure.Code(err) == failure.CodeInterrupted {
		text = "interrupted"
	}
	if hint := failure.Hint(err); hint != "" {
		text += "\nhint: " + hint
	}
	return cli.StatusError{Status: text, StatusCode: failure.Code(err), Cause: err}
}
