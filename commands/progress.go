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

// progress tells people, or programs, how far a command is. What it tells on the way
// goes to standard error, the result to standard output.
type progress struct {
	mode string
	out  io.Writer
	err  io.Writer
}

func (a *app) newProgress(mode string) *progress {
	if mode == "auto" {
		mode = "plain"
		if a.docker.Out().IsTerminal() && a.docker.In().IsTerminal() {
			mode = "tty"
		}
	}
	return &progress{mode: mode, out: a.out(), err: a.err()}
}

// step tells what has happened on the way.
func (p *progress) step(line string) {
	switch p.mode {
	case "tty":
		_, _ = fmt.Fprintf(p.err, " \033[32m✔\033[0m %s\n", line)
	case "plain":
		_, _ = fmt.Fprintf(p.err, "%s\n", line)
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
