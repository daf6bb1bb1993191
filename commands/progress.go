package commands

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// addProgress adds --progress, for whatever takes long.
func addProgress(cmd *cobra.Command, value *flagChoice) {
	addChoice(cmd, value, "progress", "auto", "How progress is shown", "auto", "tty", "plain", "quiet", "json")
}

// progress tells people, or programs, how far a command is: on standard output, so that
// a failure is all there is on standard error.
type progress struct {
	mode string
	out  io.Writer
}

func (a *app) newProgress(mode string) *progress {
	return &progress{mode: resolveMode(mode, a.docker.Out().IsTerminal()), out: a.out()}
}

// newProgressAside is newProgress for a command whose output is another's: it uses
// standard error.
func (a *app) newProgressAside(mode string) *progress {
	return &progress{mode: resolveMode(mode, a.docker.Err().IsTerminal()), out: a.err()}
}

func resolveMode(mode string, terminal bool) string {
	switch {
	case mode != "auto":
		return mode
	case terminal:
		return "tty"
	}
	return "plain"
}

// step tells what has happened on the way.
func (p *progress) step(line string) {
	switch p.mode {
	case "tty":
		_, _ = fmt.Fprintf(p.out, " \033[32m✔\033[0m %s\n", line)
	case "plain":
		_, _ = fmt.Fprintf(p.out, "%s\n", line)
	case "json":
		p.json("progress", line)
	}
}

// done tells the result.
func (p *progress) done(line string) {
	switch p.mode {
	case "quiet":
	case "json":
		p.json("done", line)
	default:
		_, _ = fmt.Fprintln(p.out, line)
	}
}

func (p *progress) json(event, message string) {
	_ = json.NewEncoder(p.out).Encode(struct {
		Event   string `json:"event"`
		Message string `json:"message"`
	}{event, message})
}
