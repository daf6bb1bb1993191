package commands

import (
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// namesOf returns the instances of a command that takes any number: all, the named ones, or
// the one that choose returns.
func (a *app) namesOf(args []string, all bool, choose func(args []string) (choice, error)) ([]string, error) {
	switch {
	case all && (len(args) > 0 || a.instance.given):
		return nil, failure.Usage("--all and an instance exclude each other")
	case all:
		names, err := instanceNames()
		if err == nil && len(names) == 0 {
			a.note("there are no instances")
		}
		return names, err
	case len(args) > 1 && a.instance.given:
		return nil, failure.Usage("instances are named twice: as arguments, and by --instance %q", a.instance.value)
	case len(args) > 1:
		return unique(args), nil
	}
	c, err := choose(args)
	return []string{c.name}, err
}

func unique(names []string) (once []string) {
	for _, n := range names {
		if !slices.Contains(once, n) {
			once = append(once, n)
		}
	}
	return once
}

// onSeveral runs f for all instances concurrently and shows progress. A failure of one does
// not stop the others.
func (a *app) onSeveral(mode string, names []string, f func(name string, t reporter) error) error {
	return a.withProgress(mode, func(t reporter) error {
		if len(names) > 1 {
			t.display.Several(names)
		}
		errs := make([]error, len(names))
		var group errgroup.Group
		for n, name := range names {
			group.Go(func() error {
				if errs[n] = f(name, t.of(name, progress.Itself)); errs[n] != nil {
					t.display.Fail(name, errs[n])
				}
				t.display.Ended(name)
				return nil
			})
		}
		_ = group.Wait()
		return errors.Join(errs...)
	})
}

// severalOptions are the options of a command that takes any number of instances.
type severalOptions struct {
	longOptions
	all bool
}

func (o *severalOptions) add(cmd *cobra.Command, verb string, timeout time.Duration) {
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, verb+" all instances")
	o.longOptions.add(cmd, timeout)
}
