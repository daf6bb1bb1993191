package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type envOptions struct {
	shell flagChoice
	unset bool
}

func (a *app) newEnv() *cobra.Command {
	var o envOptions
	cmd := &cobra.Command{
		Use:   "env [OPTIONS] [INSTANCE]",
		Short: "Print the environment variables for an instance",
		Long: `Print the environment variables for an instance, for a shell to evaluate: for programs
that ignore Docker contexts.`,
		Example: `  eval "$(docker rd env)"
  docker rd env dev --shell fish | source
  eval "$(docker rd env --unset)"`,
		Args:              takes(0, 1),
		ValidArgsFunction: a.completeInstance,
		RunE:              func(_ *cobra.Command, args []string) error { return a.runEnv(o, args) },
	}
	addChoice(cmd, &o.shell, "shell", guessShell(), "Shell that is to evaluate them", "sh", "bash", "zsh", "fish", "powershell")
	cmd.Flags().BoolVar(&o.unset, "unset", false, "Print what removes the variables")
	return cmd
}

func (a *app) runEnv(o envOptions, args []string) error {
	set := map[string]string{}
	if !o.unset {
		i, err := a.load(args)
		if err != nil {
			return err
		}
		if set, err = engineEnv(i); err != nil {
			return err
		}
	}
	for _, name := range endpoint.Variables {
		if _, err := fmt.Fprintln(a.out(), shellLine(o.shell.value, name, set[name])); err != nil {
			return err
		}
	}
	return nil
}

// engineEnv returns the variables that lead to the instance's engine without its
// context, which need not exist.
func engineEnv(i *instance.Instance) (map[string]string, error) {
	ep, err := endpointOf(i)
	if err != nil {
		return nil, err
	}
	set := map[string]string{"DOCKER_HOST": ep.Host}
	if ep.TLS == nil && !ep.SkipTLSVerify {
		return set, nil
	}
	dir, err := certPath(i)
	if err != nil {
		return nil, err
	}
	set["DOCKER_CERT_PATH"] = dir
	if ep.SkipTLSVerify {
		set["DOCKER_TLS"] = "1"
	} else {
		set["DOCKER_TLS_VERIFY"] = "1"
	}
	return set, nil
}

// certPath returns the directory in which docker finds the TLS material of the
// instance's engine. Docker wants certain names there; Docker's own context store
// uses them too.
func certPath(i *instance.Instance) (string, error) {
	s := i.Settings
	if s.FromContext != "" {
		return filepath.Join(endpoint.OpenStore(i.DockerConfig).GetStorageInfo(s.FromContext).TLSPath, "docker"), nil
	}
	dir := ""
	for name, path := range map[string]string{"ca.pem": s.TLSCACert, "cert.pem": s.TLSCert, "key.pem": s.TLSKey} {
		if path == "" {
			continue
		}
		if filepath.Base(path) != name || (dir != "" && filepath.Dir(path) != dir) {
			return "", failure.WithHint(
				failure.Refuse("DOCKER_CERT_PATH can't say %q: docker looks for ca.pem, cert.pem and key.pem in one directory", path),
				"use the context: docker --context %s", i.Context())
		}
		dir = filepath.Dir(path)
	}
	return dir, nil
}

// shellLine sets a variable, or unsets it where the value is empty.
func shellLine(shell, name, value string) string {
	switch {
	case shell == "fish" && value == "":
		return "set -e " + name + ";"
	case shell == "fish":
		return "set -gx " + name + " " + fishQuote(value) + ";"
	case shell == "powershell" && value == "":
		return "Remove-Item Env:" + name + " -ErrorAction SilentlyContinue"
	case shell == "powershell":
		return "$Env:" + name + " = " + powershellQuote(value)
	case value == "":
		return "unset " + name
	}
	return "export " + name + "=" + shellQuote(value)
}

// shellQuote quotes for sh, and leaves alone what needs no quotes.
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

// powershellQuote doubles all that PowerShell takes for the end of a quotation.
func powershellQuote(s string) string {
	return "'" + strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b").Replace(s) + "'"
}

// guessShell returns the shell that the user seems to use.
func guessShell() string {
	switch {
	case os.Getenv("SHELL") == "" && os.Getenv("PSModulePath") != "":
		return "powershell"
	case filepath.Base(os.Getenv("SHELL")) == "fish":
		return "fish"
	}
	return "sh"
}
