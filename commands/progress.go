package commands

import (
	"os"
	"time"

	"github.com/docker/cli/cli/streams"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/commands/progress"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// addProgress adds --progress, for whatever takes long.
func addProgress(cmd *cobra.Command, value *flagChoice, fallback string) {
	addChoice(cmd, value, "progress", fallback, "How progress is shown", "auto", progress.TTY, progress.Plain, progress.Quiet, progress.JSON)
}

// A teller tells how far one step of one instance is.
type teller struct {
	display        *progress.Display
	instance, step string
	reason         state.Reason // of the condition that is told of
	why            func() string
}

// withProgress runs f, which shows how far it is in the given mode: on standard output, so
// that a failure is all there is on standard error.
func (a *app) withProgress(mode string, f func(t teller) error) error {
	return a.showing(mode, a.docker.Out(), progress.Plain, f)
}

// withProgressAside is withProgress for a command whose output is another's: it uses
// standard error, and says nothing unless that is a terminal or it is told to.
func (a *app) withProgressAside(mode string, f func(t teller) error) error {
	return a.showing(mode, a.docker.Err(), progress.Quiet, f)
}

func (a *app) showing(mode string, out *streams.Out, elsewhere string, f func(t teller) error) error {
	dumb := os.Getenv("TERM") == "dumb"
	switch {
	case mode != "auto":
	case out.IsTerminal() && !dumb:
		mode = progress.TTY
	default:
		mode = elsewhere
	}
	d := progress.New(progress.Options{
		Mode: mode, Out: out, Now: time.Now,
		Color: os.Getenv("NO_COLOR") == "" && !dumb,
		Size: func() (int, int) {
			height, width := out.GetTtySize()
			return int(width), int(height)
		},
	})
	outer := a.display
	a.display = d
	err := f(teller{display: d})
	if err != nil {
		d.Fail("", err)
	}
	d.Close()
	a.display = outer
	return err
}

// of returns a teller for a step of an instance.
func (t teller) of(instance, step string) teller {
	return teller{display: t.display, instance: instance, step: step}
}

// because gives the teller what says, while the step takes long, what it waits for.
func (t teller) because(why func() string) teller {
	t.why = why
	return t
}

func (t teller) event(status progress.Status, message string) progress.Event {
	return progress.Event{Instance: t.instance, Step: t.step, Status: status, Reason: t.reason, Message: message}
}

// doing tells what has begun, and what to say if it fails.
func (t teller) doing(message, otherwise string) {
	e := t.event(progress.Working, message)
	e.Otherwise = otherwise
	t.display.Show(e, t.why)
}

// live is doing what is only worth a line where that is replaced by the outcome.
func (t teller) live(message, otherwise string) {
	e := t.event(progress.Working, message)
	e.Otherwise, e.Live = otherwise, true
	t.display.Show(e, t.why)
}

// did tells what has been reached.
func (t teller) did(message string) { t.display.Show(t.event(progress.Done, message), nil) }

// warned tells of a step that ended otherwise than it should, which is no failure.
func (t teller) warned(message string) { t.display.Show(t.event(progress.Warning, message), nil) }

// done tells what the command has come to.
func (t teller) done(message string) { t.display.Show(t.event(progress.Result, message), nil) }

// asked tells what was asked for, and is not quiet about it.
func (t teller) asked(message string) { t.display.Asked(t.event(progress.Result, message)) }
