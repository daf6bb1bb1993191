package commands

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// settings are the settings in the help of start and set.
var settings = []struct{ key, usage string }{
	{"driver", "How the engine is run (" + quoted(instance.SettingValues("driver")) + ")"},
	{"engine", "Kind of engine (" + quoted(instance.SettingValues("engine")) + ")"},
	{"promote", "When to make the context current (" + quoted(instance.SettingValues("promote")) + ")"},
	{"host", "URL of an existing engine to adopt"},
	{"from-context", "Docker context of an existing engine to adopt"},
	{"tlscacert", "CA certificate for the host"},
	{"tlscert", "Client certificate for the host"},
	{"tlskey", "Client key for the host"},
	{"tlsverify", "Use TLS for the host and verify it (false: only use it)"},
	{"daemon-config", "Configuration file for dockerd"},
	{"engine-path", "Directory of dockerd, containerd and runc, in place of the system's"},
	{"engine-args", "More arguments for dockerd, quoted as for a shell"},
	{"localhost", "Ports of the host's 127.0.0.1 that the engine reaches on its own 127.0.0.1"},
	{"memory", "Limit of the memory of all containers together, or the machine's memory (driver lima), such as 2g"},
	{"cpus", "Limit of the processors of the engine and its containers together, such as 1.5, or the machine's processors (driver lima)"},
	{"pids-limit", "Limit of the processes of all containers together"},
	{"disk", "Size of the machine's disk, such as 60g (driver lima)"},
	{"template", "Lima template from which the machine is made, a file or a name (driver lima)"},
	{"autostart", "Have systemd start the instance with the system"},
	{"resync", "How often the mirror is compared with the engine"},
}

// valueMeanings say what values of settings mean.
var valueMeanings = map[string]string{
	instance.DriverAuto:                   "dockerd for root, rootless for other users, lima on macOS",
	instance.DriverDockerd:                "an engine of root's",
	instance.DriverRootless:               "an engine of an ordinary user's",
	instance.DriverExisting:               "an engine that exists already",
	instance.DriverLima:                   "an engine in a virtual machine",
	instance.KindMoby:                     "a dockerd",
	instance.KindContainerd:               "a containerd without a dockerd",
	string(dockercontext.PromoteIfBroken): "if the current context leads to no engine",
	string(dockercontext.PromoteAlways):   "whatever the current context is",
	string(dockercontext.PromoteNever):    "not at all",
}

// settingWords returns the completions of a setting's value, nil if there are none.
func settingWords(key, prefix string) (words []string) {
	for _, value := range instance.SettingValues(key) {
		words = append(words, described(prefix+value, valueMeanings[value]))
	}
	return words
}

// addSettings adds the flags for the settings, which validate their values, except for those that
// start takes as arguments or does not need.
func (a *app) addSettings(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, s := range settings {
		switch s.key {
		case "engine-args", "resync":
			continue
		}
		kind, words := "string", settingWords(s.key, "")
		if slices.Contains(words, "true") {
			kind = "bool"
		}
		flag := flags.VarPF(&flagValue[string]{kind: kind, parse: asIs}, s.key, "", s.usage)
		if kind == "bool" {
			flag.NoOptDefVal = "true"
		}
		if words != nil {
			completeFlag(cmd, s.key, words...)
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("from-context", completing(a.contextWords))
	for _, name := range []string{"tlscacert", "tlscert", "tlskey", "daemon-config", "template"} {
		completeFile(cmd, name)
	}
	_ = cmd.MarkFlagDirname("engine-path")
}

// changesOf returns a function that applies the given flags and the engine's arguments to
// settings.
func (a *app) changesOf(cmd *cobra.Command, args []string) func(*instance.Settings) error {
	var given []*pflag.Flag // found once: several instances are started at the same time
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(instance.SettingNames(), f.Name) {
			given = append(given, f)
		}
	})
	return func(s *instance.Settings) error {
		var errs []error
		for _, f := range given {
			if f.Value.String() == "" { // a script's variable is unset
				errs = append(errs, failure.Refuse("--%s is empty: leave it out, or give it a value", f.Name))
			}
			errs = append(errs, s.Set(f.Name, f.Value.String()))
		}
		if n := cmd.ArgsLenAtDash(); n >= 0 {
			errs = append(errs, s.SetArgs(args[n:]))
		}
		if cmd.Flags().Changed("from-context") && s.FromContext == endpoint.DefaultContext {
			errs = append(errs, a.adoptDefault(cmd, s))
		}
		return errors.Join(errs...)
	}
}

// adoptDefault resolves the context "default" as docker does here. If options or variables
// of this shell define it, the host is remembered: other shells need not have them.
func (a *app) adoptDefault(cmd *cobra.Command, s *instance.Settings) error {
	dir, err := dockerConfig()
	if err != nil {
		return err
	}
	o, err := optionsHere(cmd, dir)
	if err != nil {
		return err
	}
	d := *o.Default
	if d.Host == "" && !d.TLS && !d.TLSVerify {
		return nil
	}
	ep, err := endpoint.FromDefault(d)
	if err != nil {
		return failure.WithCode(fmt.Errorf("context %q: %w", s.FromContext, err), failure.CodeRefused)
	}
	values := map[string]string{"host": ep.Host, "from-context": "", "tlsverify": "", "tlscacert": "", "tlscert": "", "tlskey": ""}
	if ep.TLS != nil || ep.SkipTLSVerify {
		values["tlsverify"] = strconv.FormatBool(!ep.SkipTLSVerify)
	}
	if t := ep.TLS; t != nil {
		for _, f := range []struct {
			key, path string
			pem       []byte
		}{{"tlscacert", d.CAFile, t.CA}, {"tlscert", d.CertFile, t.Cert}, {"tlskey", d.KeyFile, t.Key}} {
			if f.pem != nil {
				values[f.key] = f.path
			}
		}
	}
	var errs []error
	for key, value := range values {
		errs = append(errs, s.Set(key, value))
	}
	return errors.Join(errs...)
}

func changed(s instance.Settings, change func(*instance.Settings) error) (instance.Settings, error) {
	if err := change(&s); err != nil {
		return s, err
	}
	return s.Resolved()
}

// runsWith refuses settings that the running engine was not started with.
func (a *app) runsWith(i *instance.Instance, change func(*instance.Settings) error) error {
	started := i.Started()
	next, err := changed(started, change)
	if err != nil {
		return err
	}
	next.TakeLive(started) // these can change
	diff := started.Diff(next)
	if len(diff) == 0 {
		return nil
	}
	return failure.WithHint(failure.Refuse("instance %q runs with other settings: not %s", i.Name, strings.Join(diff, ", ")),
		"%s restarts it with them", a.hinter().run("set", i.Name, shellQuoteAll(diff), "--restart"))
}
