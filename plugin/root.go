package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/docker/cli/cli"
	cliplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/moby/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/commands"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
	"github.com/docker-rd/docker-rd/internal/version"
)

// newRoot returns the command `docker rd` with all its subcommands.
func newRoot(dockerCLI *command.DockerCli) *cobra.Command {
	var runWith func(context.Context) context.Context
	root := &cobra.Command{
		Use:   Name,
		Short: "Your own Docker engines, by name",
		Example: `  docker rd start
  docker rd run -- docker ps
  docker rd stop`,
		TraverseChildren:  true,
		Version:           version.Version(),
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := initialize(dockerCLI, cmd, args); err != nil {
				return status(cmd, err)
			}
			leaveDocker() // the plugin code has read it
			// Without a terminal docker gets the signal and cancels the context; on a terminal,
			// and standalone, we get it.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, func() {
				stop() // a second signal kills this process
				if !commands.EndsLate(cmd) {
					time.AfterFunc(endGrace, interrupted)
				}
			})
			cmd.SetContext(runWith(ctx))
			return nil
		},
	}
	root.SetVersionTemplate("docker-rd version {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return status(cmd, usage(cmd, err))
	})
	root.SetHelpFunc(checkedHelp(root.HelpFunc()))
	runWith = commands.Add(root, dockerCLI)
	root.AddCommand(newHelp(root))
	root.Flags().BoolP("version", "v", false, "Print the version and quit")
	wrap(root)
	return root
}

// endGrace is how long a command that is interrupted may take to end. It may read from a file system
// that hangs.
const endGrace = time.Second

func interrupted() {
	fmt.Fprintln(os.Stderr, "interrupted")
	os.Exit(failure.CodeInterrupted)
}

// initialize runs docker's plugin code without its warning about an invalid config.json:
// commands that need the file report that themselves.
func initialize(dockerCLI *command.DockerCli, cmd *cobra.Command, args []string) error {
	if err := command.WithErrorStream(io.Discard)(dockerCLI); err != nil {
		return err
	}
	err := cliplugin.PersistentPreRunE(cmd, args)
	_, _, stderr := term.StdStreams()
	return errors.Join(err, command.WithErrorStream(stderr)(dockerCLI))
}

// wrap converts all errors of commands by [status], and makes groups print their help.
func wrap(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		wrap(sub)
	}
	if cmd.HasSubCommands() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args)
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return status(cmd, usage(cmd, err))
			}
			return nil
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return status(cmd, run(cmd, args)) }
	}
}

// unknownCommand is the error for arguments that name no subcommand of cmd.
func unknownCommand(cmd *cobra.Command, args []string) error {
	name := standaloneName(cmd)
	_, group, _ := strings.Cut(name, " ")
	hint := nearest.DidYouMean(commands.Suggest(cmd, args[0]), "docker-rd ", "`"+name+" --help` lists the commands")
	return failure.WithHint(failure.Usage("unknown command %q", strings.TrimSpace(group+" "+args[0])), "%s", hint)
}

// usage adds our exit status and a hint to an error of the command line. An invalid value of a
// flag is a refusal, like that of a setting.
func usage(cmd *cobra.Command, err error) error {
	code := failure.CodeUsage
	if _, invalid := errors.AsType[*pflag.InvalidValueError](err); invalid {
		code = failure.CodeRefused
	}
	hint := "`" + standaloneName(cmd) + " --help` shows how it is used"
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		hint = nearest.DidYouMean(nearFlags(cmd, unknown.GetSpecifiedName()), "--", "`"+standaloneName(cmd)+" --help` lists the options")
	}
	return failure.WithHint(failure.WithCode(err, code), "%s", hint)
}

// nearFlags returns the flags of a command that a name may be a typo of.
func nearFlags(cmd *cobra.Command, name string) []string {
	var names []string
	for _, flags := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
	}
	if len(name) == 1 {
		return nil // all shorthands are near each other
	}
	return nearest.To(name, names)
}

// standaloneName is the command for docker-rd, which works even if docker does not reach its
// plugins.
func standaloneName(cmd *cobra.Command) string {
	path := cmd.CommandPath()
	if i := strings.Index(path, " "+Name); i >= 0 {
		path = path[i+1:]
	}
	return "docker-" + path
}

// Shown is called with each error that is about to be shown, if it is not nil. Tests set it.
var Shown func(cmd *cobra.Command, text string, hints []string)

// status converts an error to what docker's plugin code prints: one line, and one for each hint.
func status(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	var silent commands.ExitStatus
	if errors.As(err, &silent) {
		// The plugin code would print an empty line for an error without text.
		os.Exit(int(silent))
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok && p.Path == os.Stdout.Name() && errors.Is(err, syscall.EPIPE) {
		os.Exit(failure.CodeClosed)
	}
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	if errors.Is(err, context.DeadlineExceeded) {
		text = strings.ReplaceAll(text, context.DeadlineExceeded.Error(), "the time was up")
	}
	if errors.Is(err, context.Canceled) && failure.Code(err) == failure.CodeInterrupted {
		text = "interrupted"
	}
	hints := commands.Hints(cmd, err)
	if Shown != nil {
		Shown(cmd, text, hints)
	}
	for _, hint := range hints {
		text += "\nhint: " + hint
	}
	return cli.StatusError{Status: text, StatusCode: failure.Code(err), Cause: err}
}
