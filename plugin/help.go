package plugin

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// newHelp returns the command help.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "help [COMMAND]",
		Hidden: true,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			parent, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var words []string
			for _, cmd := range parent.Commands() {
				if cmd.IsAvailableCommand() {
					words = append(words, cobra.CompletionWithDesc(cmd.Name(), cmd.Short))
				}
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || cmd.HasSubCommands() && len(rest) > 0 {
				return unknownCommand(cmd, rest)
			}
			return cmd.Help()
		},
	}
}

// checkedHelp returns a function that prints the help of a command, and ends this process if it
// can't be written: cobra neither says so nor returns it.
func checkedHelp(help func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(cmd *cobra.Command, args []string) {
		var text bytes.Buffer
		cmd.SetOut(&text)
		help(cmd, args)
		cmd.SetOut(nil) // that of its parents
		if _, err := text.WriteTo(cmd.OutOrStdout()); err != nil {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), status(cmd, err))
			os.Exit(failure.Code(err))
		}
	}
}
