package commands

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
)

type setOptions struct {
	output.Options
	longOptions
	dryRun  bool
	restart bool
}

func (a *app) newSet() *cobra.Command {
	var o setOptions
	cmd := &cobra.Command{
		Use:   "set [OPTIONS] [INSTANCE] [KEY=VALUE...]",
		Short: "Show or change the settings of an instance",
		Long: `Change the settings of an instance. Without KEY=VALUE, show them, and where each comes
from. They are:

` + settingsHelp() + `
An empty value restores the default. A running instance uses the new settings after its
next restart, or at once with --restart; limits and autostart need none.`,
		Example: `  docker rd set promote=never
  docker rd set dev engine-args="--log-level debug" --restart`,
		Args: takes(0, many),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runSet(cmd, o, args) },
		ValidArgsFunction: completing(func(args []string, word string) (words []string) {
			key, _, ok := strings.Cut(word, "=")
			if ok {
				return settingWords(key, key+"=")
			}
			for _, s := range settings {
				if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, s.key+"=") }) {
					words = append(words, cobra.CompletionWithDesc(s.key+"=", s.usage))
				}
			}
			return append(words, a.instanceWord(args, word)...)
		}),
	}
	flags := cmd.Flags()
	o.AddFlags(cmd, "names")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Only print what would change")
	flags.BoolVar(&o.restart, "restart", false, "Restart the instance if it runs and settings are pending")
	o.add(cmd, 2*time.Minute)
	return cmd
}

func settingsHelp() string {
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "  %-15s%s\n", s.key, s.usage)
	}
	return b.String()
}

func (a *app) runSet(cmd *cobra.Command, o setOptions, args []string) error {
	ctx, cancel, how := patience(cmd.Context(), o.timeout)
	defer cancel()
	var name []string
	if len(args) > 0 && !strings.Contains(args[0], "=") {
		name, args = args[:1], args[1:]
	}
	i, err := a.load(name)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return a.showSettings(o.Options, i)
	}
	next, err := assign(i.Settings, args)
	if err != nil {
		return err
	}
	changes := i.Settings.Diff(next)
	running := instance.Observe(i).Supervised
	var again []string
	for _, pair := range args {
		key, _, _ := strings.Cut(pair, "=")
		again = append(again, key)
	}
	if pending := running && len(i.Pending()) > 0; len(changes) == 0 && !(o.restart && pending) && !slices.Contains(again, "autostart") {
		return nil
	}
	if err := worse(i, next); err != nil {
		return err
	}
	if o.dryRun && next.Autostart && slices.Contains(again, "autostart") {
		if err := client.CheckBoot(i); err != nil {
			return err
		}
	}
	if !o.dryRun {
		err = a.remember(ctx, i, func(s *instance.Settings) error {
			*s, err = assign(*s, args)
			return err
		}, again...)
		if err != nil {
			return err
		}
	}
	return a.withProgress(o.progress.value, func(t reporter) error {
		for _, c := range changes {
			t.of(i.Name, "set").asked(c)
		}
		switch {
		case o.dryRun || !running:
			return nil
		case !o.restart:
			a.notePending(i)
			return nil
		case len(i.Pending()) == 0:
			return nil
		}
		return a.restart(ctx, cmd.Context(), i, how, t.of(i.Name, progress.Itself))
	})
}

// assign returns the settings with each KEY=VALUE set, if the result is valid.
func assign(s instance.Settings, pairs []string) (instance.Settings, error) {
	before := s
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return s, failure.Usage("%q is not KEY=VALUE", pair)
		}
		if err := s.Set(key, value); err != nil {
			return s, err
		}
	}
	if before.HasTLS() && !s.HasTLS() && s.Host == before.Host {
		return s, failure.Refuse("host %q: without TLS settings it would be reached in plain text", s.Host)
	}
	return s.Resolved()
}

// worse refuses settings with which the instance could not be started, unless it could not
// be started before either.
func worse(i *instance.Instance, next instance.Settings) error {
	changed := *i
	changed.Settings = next
	err := check(&changed)
	if err == nil {
		return nil
	}
	if before := check(i); before != nil && before.Error() == err.Error() {
		return nil
	}
	return err
}

type settingRow struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Pending bool   `json:"pending"` // the engine runs with another value
}

var settingLayout = output.Layout{Table: "{{.Setting}}\t{{.Value}}\t{{.Source}}{{if eq .Pending true}}, waits for a restart{{end}}", Key: "{{.Setting}}"}

func (a *app) showSettings(o output.Options, i *instance.Instance) error {
	started := i.Settings
	if instance.Observe(i).Supervised {
		started = i.Started()
	}
	var rows []settingRow
	for _, s := range settings {
		rows = append(rows, settingRow{s.key, i.Settings.Get(s.key), i.Settings.Source(s.key), started.Get(s.key) != i.Settings.Get(s.key)})
	}
	return output.WriteRows(a.out(), o, settingLayout, rows)
}
