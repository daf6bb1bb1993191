package commands

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// load returns the chosen instance, which must exist.
func (a *app) load(args []string) (*instance.Instance, error) {
	return loadChosen(a.choose(args))
}

// loadNoting is load with a note on a surprising choice.
func (a *app) loadNoting(args []string) (*instance.Instance, error) {
	return loadChosen(a.noted(a.choose(args)))
}

// loadForObjects is load for commands that read or change the engine's objects.
func (a *app) loadForObjects(args []string) (*instance.Instance, error) {
	return loadChosen(a.noted(a.chooseForObjects(args)))
}

func loadChosen(c choice, err error) (*instance.Instance, error) {
	if err != nil {
		return nil, err
	}
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

// loadAnyway is load for commands that also work with damaged settings.
func (a *app) loadAnyway(args []string) (*instance.Instance, error) {
	return a.salvage(a.load(args))
}

// salvage is [instance.Salvage] with a warning if it uses the backup of damaged settings.
func (a *app) salvage(i *instance.Instance, err error) (*instance.Instance, error) {
	salvaged, still := instance.Salvage(i, err)
	if err != nil && still == nil {
		a.warn("%v", err)
	}
	return salvaged, still
}

// loadRunning returns the instance whose supervisor a command asks, which must run, and the
// end of messages that names the instance, see [choice.where].
func (a *app) loadRunning() (i *instance.Instance, where string, err error) {
	c, err := a.chooseForObjects(nil)
	if i, err = loadChosen(c, err); err != nil {
		return nil, "", err
	}
	return i, c.where(), client.TakesRequests(i)
}

// notRunning refuses what takes a running instance.
func notRunning(i *instance.Instance) error {
	return &client.Error{Instance: i, Problem: client.NotRunning, Err: failure.Refuse("instance %q is not running", i.Name)}
}

// checkUsable refuses an instance whose engine does not answer, as its supervisor sees it.
func checkUsable(i *instance.Instance, o instance.Observation) error {
	switch ready := o.Condition(state.EngineReady); {
	case ready.Status == state.True:
		return nil
	case ready.Reason == state.ReasonUnresponsive:
		return &client.Error{Instance: i, Problem: client.Stopping, Err: failure.Refuse("instance %q runs, but its engine does not answer", i.Name)}
	}
	return notRunning(i)
}

func endpointOf(i *instance.Instance) (endpoint.Endpoint, error) {
	driver, err := engine.DriverFor(i, nil)
	if err != nil {
		return endpoint.Endpoint{}, err
	}
	return driver.Endpoint()
}

func instanceNames() ([]string, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return instance.Names(roots)
}

// A loader returns the instance that a command's arguments name, such as [app.load].
type loader func(args []string) (*instance.Instance, error)

// onInstance makes cmd a command about one instance: its only, optional argument.
func (a *app) onInstance(cmd *cobra.Command, load loader, run func(cmd *cobra.Command, i *instance.Instance) error) *cobra.Command {
	cmd.Args = takes(0, 1)
	cmd.ValidArgsFunction = completing(a.instanceWord)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		i, err := load(args)
		if err != nil {
			return err
		}
		return run(cmd, i)
	}
	return cmd
}

// aboutNone makes cmd a command about no instance: it refuses --instance, and takes no arguments
// unless it has its own Args.
func (a *app) aboutNone(cmd *cobra.Command) *cobra.Command {
	check := cmd.Args
	if check == nil {
		check, cmd.ValidArgsFunction = takes(0, 0), cobra.NoFileCompletions
	}
	cmd.Flags().VarPF(&a.instance, "instance", "i", "").Hidden = true // its help does not show that of the root
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if a.instance.given {
			return failure.Usage("%s takes no --instance", nameOf(cmd))
		}
		return check(cmd, args)
	}
	return cmd
}

// instanceWords completes instances that were not given yet.
func (a *app) instanceWords(args []string, _ string) (words []string) {
	names, _ := instanceNames()
	for _, name := range names {
		if !slices.Contains(args, name) {
			words = append(words, cobra.CompletionWithDesc(name, instanceSummary(name)))
		}
	}
	return words
}

func instanceSummary(name string) string {
	i, err := loadNamed(name)
	if err != nil {
		return client.StatusUnusable
	}
	return client.Status(instance.Observe(i), i) + ", " + i.Settings.Driver
}

// instanceWord completes the only instance.
func (a *app) instanceWord(args []string, word string) []string {
	if len(args) > 0 {
		return nil
	}
	return a.instanceWords(args, word)
}
