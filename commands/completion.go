package commands

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// newCompletion returns the command for the completion of the standalone docker-rd. Docker's
// own completion covers `docker rd`.
func (a *app) newCompletion() *cobra.Command {
	named := &cobra.Command{Use: "docker-rd"} // the scripts depend on the name alone
	shells := map[string]func(io.Writer) error{
		"bash":       func(w io.Writer) error { return named.GenBashCompletionV2(w, true) },
		"fish":       func(w io.Writer) error { return named.GenFishCompletion(w, true) },
		"powershell": named.GenPowerShellCompletionWithDesc,
		"zsh":        named.GenZshCompletion,
	}
	names := []string{"bash", "fish", "powershell", "zsh"}
	return &cobra.Command{
		Use:       "completion bash|fish|powershell|zsh",
		Short:     "Print the completion script of docker-rd",
		Example:   `  source <(docker-rd completion bash)`,
		Args:      takes(1, 1),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			generate := shells[args[0]]
			if generate == nil {
				return unknown("shell", args[0], names)
			}
			if err := generate(a.out()); err != nil {
				return fmt.Errorf("completion: %w", err)
			}
			return nil
		},
	}
}
