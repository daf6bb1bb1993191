package commands

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/docker/cli/cli/streams"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// longOptions are the options of a command that may take long.
type longOptions struct {
	timeout  flagValue[time.Duration]
	progress flagValue[string]
}

func (o *longOptions) add(cmd *cobra.Command, timeout time.Duration) {
	addTimeout(cmd.Flags(), &o.timeout, timeout, noLimit)
	addChoice(cmd, &o.progress, "progress", "auto", "How progress is shown", "auto", progress.TTY, progress.Plain, progress.Quiet, progress.JSON)
}

// tellsFailure makes a command that shows progress for programs show them its failure too, if it fails
// before it has begun.
func (a *app) tellsFailure(cmd *cobra.Command) {
	flag, run := cmd.Flags().Lookup("progress"), cmd.RunE
	if flag == nil {
		return
	}
	show := a.withProgress
	if cmd.Name() == "run" {
		show = a.withProgressAside
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if _, silent := errors.AsType[ExitStatus](err); err == nil || silent || a.shown || flag.Value.String() != progress.JSON {
			return err
		}
		return show(progress.JSON, func(reporter) error { return err })
	}
}

// inTime runs f with a context that ends at the timeout, and shows its progress.
func (a *app) inTime(ctx context.Context, o longOptions, f func(ctx context.Context, t reporter) error) error {
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	return a.withProgress(o.progress.value, func(t reporter) error { return f(ctx, t) })
}

// A reporter shows the progress of one step of one instance.
type reporter struct {
	display        *progress.Display
	instance, step string
	reason         state.Reason // of the condition
	why            func() string
}

// withProgress runs f and shows its progress in the given mode on standard output. Standard
// error has only the failure.
func (a *app) withProgress(mode string, f func(t reporter) error) error {
	return a.showing(mode, a.docker.Out(), progress.Plain, f)
}

// withProgressAside is withProgress on standard error, for a command whose output is another
// program's. By default it is quiet unless that is a terminal.
func (a *app) withProgressAside(mode string, f func(t reporter) error) error {
	return a.showing(mode, a.docker.Err(), progress.Quiet, f)
}

// talks reports whether a command that shows progress in a mode may ask a question.
func (a *app) talks(mode string) bool {
	return (mode == "auto" || mode == progress.TTY) && a.docker.In().IsTerminal() && a.docker.Out().IsTerminal()
}

func (a *app) showing(mode string, out *streams.Out, elsewhere string, f func(t reporter) error) error {
	dumb := os.Getenv("TERM") == "dumb"
	switch {
	case mode != "auto":
	case out.IsTerminal() && !dumb:
		mode = progress.TTY
	default:
		mode = elsewhere
	}
	d := progress.New(progress.Options{
		Mode: mode, Out: out,
		Color: os.Getenv("NO_COLOR") == "" && !dumb,
		Size: func() (int, int) {
			height, width := out.GetTtySize()
			return int(width), int(height)
		},
	})
	outer := a.display
	a.display = d
	err := f(reporter{display: d})
	if err != nil {
		d.Fail("", err)
	}
	d.Close()
	a.display, a.shown = outer, true
	return err
}

func (t reporter) of(instance, step string) reporter {
	return reporter{display: t.display, instance: instance, step: step}
}

// because sets what tells, while the step takes long, what it waits for.
func (t reporter) because(why func() string) reporter {
	t.why = why
	return t
}

func (t reporter) event(status progress.Status, message string) progress.Event {
	return progress.Event{Instance: t.instance, Step: t.step, Status: status, Reason: t.reason, Message: message, Why: t.why}
}

// doing shows that the step has begun. Otherwise is the message if it fails.
func (t reporter) doing(message, otherwise string) {
	e := t.event(progress.Working, message)
	e.Otherwise = otherwise
	t.display.Show(e)
}

// live is doing for a line that is only shown where the outcome replaces it.
func (t reporter) live(message, otherwise string) {
	e := t.event(progress.Working, message)
	e.Otherwise, e.Live = otherwise, true
	t.display.Show(e)
}

// did shows that the step is done.
func (t reporter) did(message string) { t.display.Show(t.event(progress.Done, message)) }

// warned shows a step that ended with a problem, which is no failure.
func (t reporter) warned(message string) { t.display.Show(t.event(progress.Warning, message)) }

// done shows the result of the command.
func (t reporter) done(message string) { t.display.Show(t.event(progress.Result, message)) }

// asked shows what was asked for, in every mode.
func (t reporter) asked(message string) { t.display.Asked(t.event(progress.Result, message)) }
