package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/nearest"
)

type pathRow struct {
	Key  string
	Path string
}

// instancePaths returns all paths of an instance. Those that an adopted engine keeps elsewhere
// are empty.
func instancePaths(i *instance.Instance) []pathRow {
	p := i.Paths
	socket, log, data := i.Socket(), p.EngineLog(), p.Data
	if i.Settings.Adopts() {
		socket, log, data = "", "", ""
		if env, err := hostVariables(i); err == nil {
			if path, ok := strings.CutPrefix(env["DOCKER_HOST"], "unix://"); ok {
				socket = path
			}
		}
	}
	return []pathRow{
		{"socket", socket},
		{"state", p.StateFile()},
		{"instance", p.InstanceFile()},
		{"log", log},
		{"supervisor-log", p.SupervisorLog()},
		{"requests", p.RequestsDir()},
		{"data", data},
		{"state-dir", p.State},
		{"runtime-dir", p.Runtime},
		{"docker-config", i.DockerConfig},
	}
}

func (a *app) newPaths() *cobra.Command {
	var format flagValue[string]
	cmd := &cobra.Command{
		Use:   "paths [OPTIONS] [INSTANCE] [KEY]",
		Short: "Print where the files of an instance are",
		Long: `Print where the files of an instance are.

With a KEY, only that path is printed. A single argument is a KEY if it is the name of
one, otherwise an INSTANCE.`,
		Example: `  docker rd paths dev
  curl --unix-socket "$(docker rd paths socket)" http://localhost/_ping`,
		Args: takes(0, 2),
		RunE: func(_ *cobra.Command, args []string) error { return a.runPaths(format.value, args) },
		ValidArgsFunction: completing(func(args []string, word string) []string {
			if len(args) > 1 {
				return nil
			}
			return append(a.instanceWord(args, word), pathKeys()...)
		}),
	}
	addChoice(cmd, &format, "format", "table", "Format output", "table", "json", "shell")
	return cmd
}

func pathKeys() []string {
	var keys []string
	for _, r := range instancePaths(&instance.Instance{}) {
		keys = append(keys, r.Key)
	}
	return keys
}

func (a *app) runPaths(format string, args []string) error {
	key, one := "", len(args) == 2 || len(args) == 1 && isPathKey(args[0])
	if one {
		key, args = args[len(args)-1], args[:len(args)-1]
	}
	i, err := a.loadNoting(args)
	if typo, ok := errors.AsType[*instance.NotExistError](err); ok && !one { // perhaps of a key
		names, _ := instanceNames()
		if near := nearest.To(typo.Name, append(names, pathKeys()...)); len(near) > 0 {
			return failure.WithHint(err, "%s", nearest.DidYouMean(near, "", ""))
		}
	}
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(instancePaths(i), func(r pathRow) bool { return r.Path == "" })
	if one {
		for _, r := range rows {
			if r.Key == key {
				_, err := fmt.Fprintln(a.out(), r.Path)
				return err
			}
		}
		if isPathKey(key) {
			return failure.Refuse("instance %q has no %s of its own: it adopts an engine", i.Name, key)
		}
		return unknown("path", key, pathKeys())
	}
	switch format {
	case "json":
		object := make(map[string]string, len(rows))
		for _, r := range rows {
			object[r.Key] = r.Path
		}
		return output.WriteJSON(a.out(), object)
	case "shell":
		for _, r := range rows {
			name := "DOCKER_RD_PATH_" + strings.ToUpper(strings.ReplaceAll(r.Key, "-", "_"))
			if _, err := fmt.Fprintf(a.out(), "%s=%s\n", name, shellQuote(r.Path)); err != nil {
				return err
			}
		}
		return nil
	}
	return output.WriteRows(a.out(), output.Options{}, output.Layout{Table: "{{.Key}}\t{{.Path}}"}, rows)
}

func isPathKey(word string) bool { return slices.Contains(pathKeys(), word) }
