// Package shown lets tests look at the errors that docker-rd shows.
package shown

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/shlex"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/plugin"
)

// Env names the directory in which [Note] leaves what it is told.
const Env = "DOCKER_RD_TEST_ERRORS"

// DefaultHostEnv names the host that the context "default" leads to in tests.
const DefaultHostEnv = "DOCKER_RD_TEST_DEFAULT_HOST"

// files in that directory.
const lastError, wrongErrors = "last", "wrong"

// An Error is an error that docker-rd has shown.
type Error struct {
	Text  string
	Hints []string
}

// Last returns the last error that was noted in dir.
func Last(dir string) (Error, error) {
	var e Error
	data, err := os.ReadFile(filepath.Join(dir, lastError))
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	return e, err
}

// Wrong returns what is wrong with the form of the errors that were noted in dir, nil if nothing is.
func Wrong(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, wrongErrors))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, errors.New(string(data)))
}

// Note leaves an error that a command shows in the directory of [Env], and what is wrong with its
// form: plugin.Shown.
func Note(cmd *cobra.Command, text string, hints []string) {
	dir := os.Getenv(Env)
	if dir == "" {
		return
	}
	if data, err := json.Marshal(Error{text, hints}); err == nil {
		_ = os.WriteFile(filepath.Join(dir, lastError), data, 0o600)
	}
	for _, hint := range hints {
		if wrong := wrongHint(cmd, hint); wrong != "" {
			file, err := os.OpenFile(filepath.Join(dir, wrongErrors), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err == nil {
				_, _ = fmt.Fprintf(file, "%s\nhint: %s\n%s\n", text, hint, wrong)
				_ = file.Close()
			}
		}
	}
}

// wrongHint returns what is wrong with a hint, "" if nothing is: it is one line, with commands
// in backticks that docker-rd has.
func wrongHint(cmd *cobra.Command, text string) string {
	switch {
	case strings.Contains(text, "\n"):
		return "it is more than a line"
	case strings.HasSuffix(text, "."):
		return "it ends with a full stop"
	case strings.Count(text, "`")%2 != 0:
		return "a backtick is missing"
	}
	root := cmd
	for root.Name() != plugin.Name {
		root = root.Parent()
	}
	for i, part := range strings.Split(text, "`") {
		for _, sub := range root.Commands() {
			if i%2 == 0 && strings.Contains(part+" ", "docker-rd "+sub.Name()+" ") {
				return "a command is not in backticks"
			}
		}
	}
	for _, command := range Commands(text) {
		if wrong := wrongCommand(root, command); wrong != "" {
			return fmt.Sprintf("%s: %s", command, wrong)
		}
	}
	return ""
}

// wrongCommand returns what docker-rd does not know of a command.
func wrongCommand(root *cobra.Command, command string) string {
	words, err := shlex.Split(command)
	if err != nil {
		return err.Error()
	}
	if words[0] != "docker-rd" {
		return ""
	}
	for words = words[1:]; len(words) > 2 && (words[0] == "--config" || words[0] == "--host"); {
		words = words[2:] // docker's
	}
	sub, rest, err := root.Find(words)
	if err != nil || sub == root && !slices.Contains(words, "--help") {
		return "there is no such command"
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(word, "=")
		switch flag, long := strings.CutPrefix(name, "--"); {
		case word == "--":
			return ""
		case long && flag != "help" && sub.Flag(flag) == nil && sub.InheritedFlags().Lookup(flag) == nil:
			return "there is no option " + name
		}
	}
	return ""
}

// Commands returns the commands in a hint: what is in backticks and begins with a program.
func Commands(text string) (found []string) {
	for i, part := range strings.Split(text, "`") {
		program, _, more := strings.Cut(part, " ")
		if i%2 == 1 && (more || program == "docker-rd") && !strings.HasPrefix(part, "-") {
			found = append(found, part)
		}
	}
	return found
}
