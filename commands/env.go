package commands

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type envOptions struct {
	shell  flagValue[string]
	format flagValue[string]
	github bool
	unset  bool
}

func (a *app) newEnv() *cobra.Command {
	var o envOptions
	cmd := &cobra.Command{
		Use:   "env [OPTIONS] [INSTANCE]",
		Short: "Print the environment variables for an instance",
		Long: `Print the environment variables that make programs use an instance's engine, for a
shell to evaluate. Most libraries ignore Docker contexts and need them.`,
		Example: `  eval "$(docker rd env)"
  docker rd env dev --shell fish | source
  FOR /f "tokens=*" %i IN ('docker rd env dev --shell cmd') DO %i
  docker rd env dev --github
  eval "$(docker rd env --unset)"`,
		Args:              takes(0, 1),
		ValidArgsFunction: completing(a.instanceWord),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := exclusive(cmd, "shell", "format", "github"); err != nil {
				return err
			}
			return a.runEnv(o, args)
		},
	}
	addChoice(cmd, &o.shell, "shell", guessShell(), "Shell that is to evaluate them", "sh", "bash", "zsh", "fish", "powershell", "cmd")
	addChoice(cmd, &o.format, "format", "shell", "Format output", "shell", "json")
	cmd.Flags().BoolVar(&o.github, "github", false, "Append them to $GITHUB_ENV, for the next steps of a GitHub job")
	cmd.Flags().BoolVar(&o.unset, "unset", false, "Print what removes the variables")
	return cmd
}

func (a *app) runEnv(o envOptions, args []string) error {
	set, names := map[string]string{}, variablesFor(nil)
	if !o.unset {
		i, err := a.loadNoting(args)
		if err != nil {
			return err
		}
		names = variablesFor(i)
		if set, err = environmentOf(i); err != nil {
			return err
		}
		if dir, err := dockerConfig(); err != nil || !contexts.UsesConfig(i, dir) {
			delete(set, "DOCKER_CONTEXT") // this shell's docker does not know it
		}
	}
	switch {
	case o.github:
		return writeGitHubEnv(os.Getenv("GITHUB_ENV"), names, set)
	case o.format.value == "json":
		return output.WriteJSON(a.out(), nullable(names, set))
	}
	if !o.shell.given && o.shell.value == "fish" && runBySh() {
		o.shell.value = "sh" // of a script, for example: $SHELL is what the user logs in to
	}
	for _, name := range names {
		if _, err := fmt.Fprintln(a.out(), shellLine(o.shell.value, name, set[name])); err != nil {
			return err
		}
	}
	return nil
}

// nullable returns all variables, with nil for those that must be unset.
func nullable(names []string, set map[string]string) map[string]*string {
	all := make(map[string]*string, len(names))
	for _, name := range names {
		all[name] = nil
		if value, ok := set[name]; ok {
			all[name] = &value
		}
	}
	return all
}

// writeGitHubEnv appends the variables to the file that GitHub's runner reads after each
// step. A variable can't be unset there, but docker and its libraries ignore an empty one.
func writeGitHubEnv(path string, names []string, set map[string]string) (err error) {
	if path == "" {
		return failure.Refuse("GITHUB_ENV is not set: this is not a step of a GitHub job")
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var lines strings.Builder
	for _, name := range names {
		value := set[name]
		if strings.ContainsAny(value, "\r\n") {
			return failure.Refuse("%s=%q has more than one line", name, value)
		}
		if value != "" || os.Getenv(name) != "" {
			fmt.Fprintf(&lines, "%s=%s\n", name, value)
		}
	}
	_, err = file.WriteString(lines.String())
	return err
}

// shellLine returns the line that sets a variable, or unsets it if the value is empty.
func shellLine(shell, name, value string) string {
	switch {
	case shell == "fish" && value == "":
		return "set -e " + name + ";"
	case shell == "fish":
		return "set -gx " + name + " " + fishQuote(value) + ";"
	case shell == "powershell" && value == "":
		return "Remove-Item Env:" + name + " -ErrorAction SilentlyContinue"
	case shell == "cmd":
		return `SET "` + name + "=" + value + `"` // nothing in a value can be quoted
	case shell == "powershell":
		return "$Env:" + name + " = " + powershellQuote(value)
	case value == "":
		return "unset " + name
	}
	return "export " + name + "=" + shellQuote(value)
}

// shellQuote quotes a word for sh, if it needs quotes.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// powershellQuote doubles every character that ends a quotation in PowerShell.
func powershellQuote(s string) string {
	return "'" + strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b").Replace(s) + "'"
}

func guessShell() string {
	switch {
	case os.Getenv("SHELL") == "" && os.Getenv("PSModulePath") != "":
		return "powershell"
	case filepath.Base(os.Getenv("SHELL")) == "fish":
		return "fish"
	}
	return "sh"
}
