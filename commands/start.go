package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

type startOptions struct {
	severalOptions
	detach     bool
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
		ValidArgsFunction: completing(a.instanceWords),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runStart(cmd, o, args) },
	}
	flags := cmd.Flags()
	a.addSettings(cmd)
	flags.BoolVarP(&o.detach, "detach", "d", false, "Only wait until the supervisor runs")
	flags.BoolVar(&o.foreground, "foreground", false, "Be the supervisor, under a process manager: log to stderr, stop on SIGTERM")
	flags.BoolVar(&o.program, "start", false, "Start the program whose engine is adopted, such as Colima, if that is down")
	o.add(cmd, "Start", 2*time.Minute)
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
	first := make(chan struct{})
	return a.onSeveral(o.progress.value, names, func(name string, t reporter) error {
		if name == names[0] {
			defer close(first)
		} else {
			giveWay(ctx, first)
		}
		if err := a.startProgram(ctx, name, change, program, t); err != nil {
			return err
		}
		i, err := a.prepare(ctx, name, change)
		if err != nil {
			return err
		}
		a.repair(ctx, i.DockerConfig)
		return a.start(ctx, i, how, t)
	})
}

// headStart is how long the others of several instances give way to the first.
const headStart = 20 * time.Second

// giveWay waits until the first instance has started: the context of the first one that is ready
// becomes the current one.
func giveWay(ctx context.Context, first <-chan struct{}) {
	select {
	case <-first:
	case <-time.After(headStart):
	case <-ctx.Done():
	}
}

// startForeground turns the command into the supervisor of the only instance.
func (a *app) startForeground(ctx context.Context, names []string, change func(*instance.Settings) error) error {
	if len(names) != 1 {
		return failure.Usage("--foreground takes one instance")
	}
	i, err := a.prepare(ctx, names[0], change)
	if err != nil {
		return err
	}
	if err := client.RefuseNewer(i, instance.Observe(i).StateErr); err != nil {
		return err // it would be replaced
	}
	a.repair(ctx, i.DockerConfig)
	return client.Supervise(i)
}

// A plan is an instance as a start would have it.
type plan struct {
	*instance.Instance
	isNew bool // it does not exist
	runs  bool // under a supervisor, and keeps its settings
}

// planned returns the plan of a start. It writes nothing, and refuses settings that can't be.
func (a *app) planned(name string, change func(*instance.Settings) error) (p plan, err error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return p, err
	}
	p.Instance, err = instance.Load(roots, name)
	switch {
	case errors.Is(err, instance.ErrNotExist):
		dir, err := dockerConfig()
		if err != nil {
			return p, err
		}
		s, err := changed(instance.DefaultSettings(), change)
		return plan{Instance: instance.New(roots, name, dir, s), isNew: true}, cmp.Or(err, roots.Check(dir))
	case err != nil:
		return p, err
	}
	if p.runs = instance.Observe(p.Instance).Supervised; p.runs {
		return p, a.runsWith(p.Instance, change)
	}
	p.Settings, err = changed(p.Settings, change)
	return p, err
}

// prepare returns the instance with changed settings. It creates the instance if it does not
// exist, and refuses what can't work before it writes anything. While an instance runs, only those
// of its settings change that need no restart.
func (a *app) prepare(ctx context.Context, name string, change func(*instance.Settings) error) (*instance.Instance, error) {
	p, err := a.planned(name, change)
	if err != nil {
		return nil, err
	}
	if !p.runs {
		if err := check(p.Instance); err != nil {
			return nil, err
		}
	}
	if p.isNew {
		i, created, err := client.Create(ctx, p.Instance)
		switch {
		case err != nil:
			return nil, err
		case !created: // another command was faster
			return a.prepare(ctx, name, change)
		case i.Settings.Autostart:
			a.noteBoot(i)
		}
		return i, nil
	}
	i, err := loadNamed(name)
	if err != nil {
		return nil, err
	}
	return i, a.remember(ctx, i, func(s *instance.Settings) error {
		next, err := changed(*s, change)
		switch {
		case err != nil:
			return err
		case p.runs:
			s.TakeLive(next)
		default:
			*s = next
		}
		return nil
	})
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
	problems := driver.Check()
	if err := i.CheckRuntime(); err != nil {
		problems = append(problems, err)
	}
	return failure.Join(problems)
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
		if err := a.answers(ctx, i, already); err != nil {
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
	a.warnOfDefects(o)
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

const (
	// noticed is how long a supervisor may take to notice that its engine has ended.
	noticed = time.Second
	// startAskTimeout is how long an engine that is said to run may take to answer before it is said to hang.
	// One on a busy machine, or in a virtual one, is slow.
	startAskTimeout = 10 * time.Second
)

// answers asks the engine itself if its supervisor says that it is ready or lost: one that
// hangs goes unnoticed. If an engine has just ended, answers waits a moment until its
// supervisor has noticed, and returns no error.
func (a *app) answers(ctx context.Context, i *instance.Instance, o instance.Observation) error {
	lost := func(o instance.Observation) bool {
		reason := o.Condition(state.EngineReady).Reason
		return reason == state.ReasonConnectFailed || reason == state.ReasonUnresponsive
	}
	ready := o.Condition(state.Ready).Status == state.True
	if !ready && !lost(o) {
		return nil
	}
	api := askAPI(ctx, i, startAskTimeout)
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
	case api.hangs:
		return &client.Error{Instance: i, Problem: client.Stopping, Err: err}
	case !i.Settings.Adopts():
		return failure.WithHint(err, "%s may help", a.hinter().run("restart", i.Name))
	}
	if p, ok := engine.ProgramOf(i); ok {
		return failure.WithHint(err, "%s", startedBy(p))
	}
	return failure.WithHint(err, "%s waits for it", a.hinter().run("wait", i.Name))
}
