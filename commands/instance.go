package commands

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// flagInstance is the value of --instance. An empty one is a script's mistake and does not
// mean the default. Set does not refuse it, [instance.CheckName] does: cobra reports the
// errors of flags that come before a command in a way of its own.
type flagInstance struct {
	value string
	given bool
}

func (f *flagInstance) String() string     { return f.value }
func (f *flagInstance) Type() string       { return "string" }
func (f *flagInstance) Set(s string) error { *f = flagInstance{s, true}; return nil }

// load returns the instance that a command is about; it must exist.
func (a *app) load(args []string) (*instance.Instance, error) {
	c, err := a.choose(args)
	if err != nil {
		return nil, err
	}
	return loadNamed(c.name)
}

// loadNoting is load for commands whose output does not name the instance.
func (a *app) loadNoting(args []string) (*instance.Instance, error) {
	c, err := a.choose(args)
	if err != nil {
		return nil, err
	}
	a.noteChoice(c)
	return loadNamed(c.name)
}

// loadForObjects is load for commands that read or change the engine's objects.
func (a *app) loadForObjects(args []string) (*instance.Instance, error) {
	c, err := a.chooseForObjects(args)
	if err != nil {
		return nil, err
	}
	a.noteChoice(c)
	return loadNamed(c.name)
}

// loadNamed returns the instance of a name; it must exist.
func loadNamed(name string) (*instance.Instance, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return instance.Load(roots, name)
}

// loadAnyway is load for commands that look at an instance, stop or remove it, which must
// work with damaged settings too: then the copy of them is used, with a warning.
func (a *app) loadAnyway(args []string) (*instance.Instance, error) {
	return a.salvage(a.load(args))
}

// salvage is [instance.Salvage], with a warning where the copy is used.
func (a *app) salvage(i *instance.Instance, err error) (*instance.Instance, error) {
	salvaged, still := instance.Salvage(i, err)
	if err != nil && still == nil {
		a.warn("%v", err)
	}
	return salvaged, still
}

// loadRunning returns the instance on whose objects a command works, which must have a
// supervisor to ask, and how messages tell which instance it is.
func (a *app) loadRunning() (i *instance.Instance, where string, err error) {
	c, err := a.chooseForObjects(nil)
	if err != nil {
		return nil, "", err
	}
	if i, err = loadNamed(c.name); err != nil {
		return nil, "", err
	}
	return i, c.where(), client.TakesRequests(i)
}

// endpointOf returns the endpoint of an instance's engine.
func endpointOf(i *instance.Instance) (endpoint.Endpoint, error) {
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		return endpoint.Endpoint{}, err
	}
	return driver.Endpoint()
}

// instanceNames returns the names of all instances.
func instanceNames() ([]string, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return instance.Names(roots)
}

// A loader finds the instance that a command's arguments name: [app.load] or
// [app.loadAnyway].
type loader func(args []string) (*instance.Instance, error)

// onInstance makes cmd a command that is about one instance, which must exist: it is the
// only argument, if one is given.
func (a *app) onInstance(cmd *cobra.Command, load loader, run func(cmd *cobra.Command, i *instance.Instance) error) *cobra.Command {
	cmd.Args = takes(0, 1)
	cmd.ValidArgsFunction = a.completeInstance
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, err := load(args)
		if err != nil {
			return err
		}
		return run(cmd, i)
	}
	return cmd
}

// aboutNone makes cmd a command that is about no instance, to which --instance means
// nothing.
func (a *app) aboutNone(cmd *cobra.Command) *cobra.Command {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if a.instance.given {
			return failure.Usage("%s takes no --instance", nameOf(cmd))
		}
		if check == nil {
			return nil
		}
		return check(cmd, args)
	}
	return cmd
}

// completeInstances completes the names of instances that were not given yet.
func (a *app) completeInstances(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, _ := instanceNames()
	var words []string
	for _, name := range names {
		if !slices.Contains(args, name) {
			words = append(words, cobra.CompletionWithDesc(name, instanceSummary(name)))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func instanceSummary(name string) string {
	i, err := loadNamed(name)
	if err != nil {
		return "unusable"
	}
	return statusWord(instance.Observe(i), i) + ", " + i.Settings.Driver
}

// completeInstance completes the one instance that a command takes.
func (a *app) completeInstance(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeInstances(cmd, args, word)
}
