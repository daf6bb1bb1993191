package plugin

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// newCompletion returns the command that prints the completion of the standalone
// docker-rd. That of `docker rd` is docker's own.
func newCompletion() *cobra.Command {
	named := &cobra.Command{Use: "docker-rd"} // the scripts depend on the name alone
	shells := map[string]func(io.Writer) error{
		"bash":       func(w io.Writer) error { return named.GenBashCompletionV2(w, true) },
		"fish":       func(w io.Writer) error { return named.GenFishCompletion(w, true) },
		"powershell": named.GenPowerShellCompletionWithDesc,
		"zsh":        named.GenZshCompletion,
	}
	return &cobra.Command{
		Use:       "completion bash|fish|powershell|zsh",
		Short:     "Print the completion script of docker-rd",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shells[args[0]](cmd.OutOrStdout()); err != nil {
				return fmt.Errorf("completion: %w", err)
			}
			return nil
		},
	}
}
