package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
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
	instance.DriverExisting:               "an engine that is there",
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
func addSettings(cmd *cobra.Command) {
	flags := cmd.Flags()
	for _, s := range settings {
		switch s.key {
		case "engine-args", "resync":
			continue
		}
		kind := "string"
		if s.key == "tlsverify" || s.key == "autostart" {
			kind = "bool"
		}
		flags.Var(&flagValue[string]{kind: kind, parse: asIs}, s.key, s.usage)
		if words := settingWords(s.key, ""); words != nil {
			completeFlag(cmd, s.key, words...)
		}
	}
	flags.Lookup("tlsverify").NoOptDefVal = "true"
	flags.Lookup("autostart").NoOptDefVal = "true"
	_ = cmd.RegisterFlagCompletionFunc("from-context", completeContexts)
	for _, name := range []string{"tlscacert", "tlscert", "tlskey", "daemon-config", "template"} {
		completeFile(cmd, name)
	}
	_ = cmd.MarkFlagDirname("engine-path")
}

type startOptions struct {
	longOptions
	detach     bool
	all        bool
	foreground bool
	program    bool
}

func (a *app) newStart() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "start [OPTIONS] [INSTANCE...] [-- ENGINE-ARGS...]",
		Short: "Start engines and wait until they can be used",
		Long: `Start engines and wait until they can be used.

An instance that does not exist yet is created. Its settings are remembered; "set"
changes them. Arguments after "--" are passed to the engine. --start is for engines that
are adopted from Docker Desktop, OrbStack, Colima, podman machine or Rancher Desktop.`,
		Example: `  docker rd start
  docker rd start dev --promote never -- --log-level debug
  docker rd start vm --from-context colima`,
		ValidArgsFunction: a.completeInstances,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runStart(cmd, o, args) },
	}
	flags := cmd.Flags()
	addSettings(cmd)
	addAll(cmd, &o.all, "Start")
	flags.BoolVarP(&o.detach, "detach", "d", false, "Only wait until the supervisor runs")
	flags.BoolVar(&o.foreground, "foreground", false, "Be the supervisor, under a process manager: log to stderr, stop on SIGTERM")
	flags.BoolVar(&o.program, "start", false, "Start the program whose engine is adopted, such as Colima, if that is down")
	o.add(cmd, 2*time.Minute)
	return cmd
}

// instanceArgs returns the arguments before "--".
func instanceArgs(cmd *cobra.Command, args []string) []string {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		return args[:n]
	}
	return args
}

func (a *app) runStart(cmd *cobra.Command, o startOptions, args []string) error {
	if o.foreground && (o.detach || o.all || o.program) {
		return failure.Usage("--foreground takes no --detach, --all or --start")
	}
	names, err := a.namesOf(instanceArgs(cmd, args), o.all, a.choose)
	if err != nil {
		return err
	}
	ctx, cancel, how := patience(cmd.Context(), o.timeout)
	defer cancel()
	how.Detach = o.detach
	change := a.changesOf(cmd, args)
	if o.foreground {
		return a.startForeground(ctx, names, change)
	}
	program := &programStart{wanted: o.program, ask: len(names) == 1 && a.talks(o.progress.value)}
	return a.onSeveral(o.progress.value, names, func(name string, t reporter) error {
		i, err := a.prepare(ctx, name, change, func(i *instance.Instance) error { return a.startProgram(ctx, i, program, t) })
		if err != nil {
			return err
		}
		a.repair(ctx, i.DockerConfig)
		return a.start(ctx, i, how, t)
	})
}

// startForeground turns the command into the supervisor of the only instance.
func (a *app) startForeground(ctx context.Context, names []string, change func(*instance.Settings) error) error {
	if len(names) != 1 {
		return failure.Usage("--foreground takes one instance")
	}
	i, err := a.prepare(ctx, names[0], change, nothingBefore)
	if err != nil {
		return err
	}
	a.repair(ctx, i.DockerConfig)
	return client.Supervise(i)
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

// nothingBefore is for [app.prepare].
func nothingBefore(*instance.Instance) error { return nil }

// prepare returns the instance with changed settings. It creates the instance if it does not
// exist, and refuses what can't work before it writes anything. It calls before with those
// settings, before it looks at the engine.
func (a *app) prepare(ctx context.Context, name string, change func(*instance.Settings) error, before func(*instance.Instance) error) (*instance.Instance, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil, err
	}
	i, err := instance.Load(roots, name)
	if errors.Is(err, instance.ErrNotExist) {
		return a.create(ctx, roots, name, change, before)
	}
	if err != nil {
		return nil, err
	}
	return i, a.configure(ctx, i, change, before)
}

func (a *app) create(ctx context.Context, roots instance.Roots, name string, change func(*instance.Settings) error, before func(*instance.Instance) error) (*instance.Instance, error) {
	s, err := changed(instance.DefaultSettings(), change)
	if err != nil {
		return nil, err
	}
	dir, err := dockerConfig()
	if err != nil {
		return nil, err
	}
	if err := roots.Check(dir); err != nil {
		return nil, err
	}
	i := instance.New(roots, name, dir, s)
	if err := before(i); err != nil {
		return nil, err
	}
	if err := check(i); err != nil {
		return nil, err
	}
	i, created, err := client.Create(ctx, i)
	if created && i.Settings.Autostart {
		a.noteBoot(i)
	}
	if err != nil || created {
		return i, err
	}
	return i, a.configure(ctx, i, change, before) // another command has created it
}

// configure changes the settings of an instance that exists: where it runs, only those that
// need no restart.
func (a *app) configure(ctx context.Context, i *instance.Instance, change func(*instance.Settings) error, before func(*instance.Instance) error) error {
	full := func(s *instance.Settings) error {
		next, err := changed(*s, change)
		if err == nil {
			*s = next
		}
		return err
	}
	if instance.Observe(i).Supervised {
		if err := runsWith(i, change); err != nil {
			return err
		}
		live := func(s *instance.Settings) error {
			next := *s
			if err := full(&next); err != nil {
				return err
			}
			s.TakeLive(next)
			return nil
		}
		if err := a.remember(ctx, i, live); err != nil {
			return err
		}
		return before(i)
	}
	if err := a.remember(ctx, i, full); err != nil {
		return err
	}
	if err := before(i); err != nil {
		return err
	}
	return check(i)
}

// remember is [client.Configure], with notes.
func (a *app) remember(ctx context.Context, i *instance.Instance, change func(*instance.Settings) error, again ...string) error {
	before := i.Settings.Autostart
	if err := client.Configure(ctx, i, change, again...); err != nil {
		return err
	}
	if i.Settings.Autostart && (!before || slices.Contains(again, "autostart")) {
		a.noteBoot(i)
	}
	return nil
}

// noteBoot says where an instance that starts with the system does so less than one may think.
func (a *app) noteBoot(i *instance.Instance) {
	boot := client.BootOf(i)
	if boot.Lingers {
		return
	}
	a.note("instance %q starts when %s logs in, and stops when the last session ends", i.Name, boot.User)
	a.aside("hint: `sudo loginctl enable-linger %s` has it start with the system, and go on", boot.User)
}

func changed(s instance.Settings, change func(*instance.Settings) error) (instance.Settings, error) {
	if err := change(&s); err != nil {
		return s, err
	}
	return s.Resolved()
}

// runsWith refuses settings that the running engine was not started with.
func runsWith(i *instance.Instance, change func(*instance.Settings) error) error {
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
	return hinted(failure.Refuse("instance %q runs with other settings: not %s", i.Name, strings.Join(diff, ", ")),
		func(h hinter) string {
			return h.run("set", i.Name, shellQuoteAll(diff), "--restart") + " restarts it with them"
		})
}

func shellQuoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellQuote(w)
	}
	return strings.Join(quoted, " ")
}

// check refuses an instance whose engine can't be started here, and names all that is missing.
func check(i *instance.Instance) error {
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		return err
	}
	return failure.Join(driver.Check())
}

// noteLacks notes what the instance's engine can't do here.
func (a *app) noteLacks(i *instance.Instance) {
	for _, limit := range engine.Lacks(i) {
		if !a.once(limit.Error()) {
			continue
		}
		a.note("%v", limit)
		if hint := failure.Hint(limit); hint != "" {
			a.aside("hint: %s", hint)
		}
	}
}

func (a *app) start(ctx context.Context, i *instance.Instance, how client.StartOptions, t reporter) error {
	if user := os.Getenv("SUDO_USER"); user != "" && os.Geteuid() == 0 {
		who := ""
		if i.Settings.Driver == instance.DriverDockerd {
			who = ", and only root can use the engine (sudo docker)"
		}
		a.note("run through sudo by %s: the Docker configuration is %s%s", user, i.DockerConfig, who)
	}
	already := instance.Observe(i)
	if !how.Detach {
		if err := answers(ctx, i, already); err != nil {
			return err
		}
		already = instance.Observe(i)
	}
	begin := time.Now()
	how.Progress = tellConditions(i, already, t)
	o, err := client.Start(ctx, i, how)
	if err != nil {
		return err
	}
	if !already.Live {
		a.noteLacks(i)
	}
	a.warnOfDefects(i, o)
	a.noteOverride(i, o)
	switch {
	case already.Condition(state.Ready).Status == state.True:
		t.done(fmt.Sprintf("Instance %q is running", i.Name))
		a.notePending(i)
	case how.Detach:
		t.done(fmt.Sprintf("Instance %q is starting", i.Name))
	default:
		t.done(fmt.Sprintf("Instance %q is ready (%s)", i.Name, time.Since(begin).Round(time.Millisecond)))
	}
	return nil
}

// notePending notes which settings are pending until a restart.
func (a *app) notePending(i *instance.Instance) {
	if pending := i.Pending(); len(pending) > 0 {
		a.note("instance %q runs without %s until a restart: %s", i.Name, strings.Join(pending, ", "), hinter{cmd: a.root}.run("restart", i.Name))
	}
}

// tellConditions tells that the engine is starting, unless that has begun, and returns a
// function that tells of conditions as they change.
func tellConditions(i *instance.Instance, already instance.Observation, t reporter) func(instance.Observation) {
	seen := map[string]string{} // the last line of each condition
	for _, typ := range conditionTypes {
		seen[typ] = describe(already.Condition(typ), i)
	}
	log := tailOf(i.Paths.EngineLog())
	tell := func(c state.Condition) {
		line := describe(c, i)
		if line == "" || seen[c.Type] == line {
			return
		}
		seen[c.Type] = line
		step := t.of(i.Name, c.Type)
		step.reason = c.Reason
		switch {
		case c.Reason == state.ReasonStarting:
			step.because(log).doing(line, "Engine did not start")
		case c.Type == state.MirrorSynced && c.Status != state.True:
			step.live(line, "Mirror is not synced")
		case c.Reason == state.ReasonFailed:
			step.warned(line)
		default:
			step.did(line)
		}
	}
	if !already.Live || already.Condition(state.EngineReady).Reason == state.ReasonCrashLoop {
		tell(state.Condition{Type: state.EngineReady, Reason: state.ReasonStarting})
	}
	return func(o instance.Observation) {
		for _, typ := range conditionTypes {
			c := o.Condition(typ)
			c.Type = typ
			tell(c)
		}
	}
}

// warnOfDefects warns if an engine has started without its context, or with problems.
func (a *app) warnOfDefects(i *instance.Instance, o instance.Observation) {
	for _, c := range o.State.Conditions {
		switch {
		case c.Type == state.ContextReady && c.Status == state.False:
			a.warn("no context %q: %s", i.Context(), c.Message)
		case c.Type == state.ContextPromoted && c.Status == state.False && c.Reason == state.ReasonFailed:
			a.warn("%s", c.Message)
		case c.Type == state.EngineReady && c.Status == state.True && c.Message != "" && a.once(c.Message):
			a.warn("%s", c.Message)
		}
	}
}

// noticed is how long a supervisor may take to notice that its engine has ended.
const noticed = time.Second

// answers asks the engine itself if its supervisor says that it is ready or lost: one that
// hangs goes unnoticed. If an engine has just ended, answers waits a moment until its
// supervisor has noticed, and returns no error.
func answers(ctx context.Context, i *instance.Instance, o instance.Observation) error {
	lost := func(o instance.Observation) bool {
		reason := o.Condition(state.EngineReady).Reason
		return reason == state.ReasonConnectFailed || reason == state.ReasonUnresponsive
	}
	ready := o.Condition(state.Ready).Status == state.True
	if !ready && !lost(o) {
		return nil
	}
	api := askAPI(ctx, i)
	if api.Answers {
		return nil
	}
	if ready {
		wait, cancel := context.WithTimeout(ctx, noticed)
		defer cancel()
		err := client.Follow(wait, i, func(now instance.Observation) (bool, error) {
			o = now
			return o.Condition(state.EngineReady).Status == state.True, nil
		})
		if err == nil && !lost(o) {
			return nil
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &client.Error{Instance: i, Problem: client.Unanswered, Err: failure.Timeout("instance %q runs, but its engine did not answer in time", i.Name)}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	err := fmt.Errorf("instance %q runs, but its engine does not answer: %s", i.Name, api.Error)
	switch {
	case i.Settings.Driver == instance.DriverExisting && !api.hangs:
		return hinted(err, func(h hinter) string {
			if p, ok := engine.ProgramOf(i); ok {
				return startedBy(p)
			}
			return h.run("wait", i.Name) + " waits for it"
		})
	case api.hangs:
		return &client.Error{Instance: i, Problem: client.Stopping, Err: err}
	}
	return hinted(err, func(h hinter) string { return h.run("restart", i.Name) + " may help" })
}

// noteOverride notes if docker does not follow the current context in this shell.
func (a *app) noteOverride(i *instance.Instance, o instance.Observation) {
	if o.Condition(state.ContextPromoted).Status != state.True {
		return
	}
	if other := overridden(i); other != "" {
		a.note("in this shell %s", other)
	}
}

// describe returns a line of progress for a condition, "" if there is nothing to tell.
func describe(c state.Condition, i *instance.Instance) string {
	switch c.Type {
	case state.EngineReady:
		if c.Status == state.True {
			return "Engine answers"
		}
		if c.Reason == state.ReasonStarting {
			if i.Settings.Driver == instance.DriverExisting {
				return "Connecting to the engine"
			}
			return "Engine is starting (driver " + i.Settings.Driver + ")"
		}
	case state.ContextReady:
		if c.Reason == state.ReasonCreated {
			return fmt.Sprintf("Context %q exists", i.Context())
		}
	case state.ContextPromoted:
		switch {
		case stayedByPolicy(c.Reason):
			return fmt.Sprintf("%s To use %q: docker-rd context promote --force %s, or docker%s --context %s.", c.Message, i.Context(), i.Name, configFlag(i.DockerConfig), i.Context())
		case c.Status != state.Unknown && c.Reason != state.ReasonNotApplicable && c.Reason != state.ReasonFailed: // see warnOfDefects
			return c.Message
		}
	case state.MirrorSynced:
		switch {
		case c.Status == state.True:
			return "Mirror is synced"
		case c.Reason == state.ReasonSyncing || c.Reason == state.ReasonListed:
			return "Mirror is being synced"
		}
	}
	return ""
}
