package commands

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// addProgress adds --progress, for whatever takes long.
func addProgress(cmd *cobra.Command, value *flagChoice, fallback string) {
	addChoice(cmd, value, "progress", fallback, "How progress is shown", "auto", "tty", "plain", "quiet", "json")
}

// progress tells people, or programs, how far a command is: on standard output, so that
// a failure is all there is on standard error.
type progress struct {
	mode  string
	color bool
	out   io.Writer
}

func (a *app) newProgress(mode string) *progress {
	return newProgress(mode, a.docker.Out().IsTerminal(), a.out())
}

// newProgressAside is newProgress for a command whose output is another's: it uses
// standard error.
func (a *app) newProgressAside(mode string) *progress {
	return newProgress(mode, a.docker.Err().IsTerminal(), a.err())
}

func newProgress(mode string, terminal bool, out io.Writer) *progress {
	switch {
	case mode != "auto":
	case terminal:
		mode = "tty"
	default:
		mode = "plain"
	}
	return &progress{mode: mode, out: out, color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// doing tells what has begun.
func (p *progress) doing(line string) { p.line("\033[33m", "…", line) }

// step tells what has been reached on the way.
func (p *progress) step(line string) { p.line("\033[32m", "✔", line) }

func (p *progress) line(color, mark, line string) {
	switch p.mode {
	case "tty":
		if p.color {
			mark = color + mark + "\033[0m"
		}
		_, _ = fmt.Fprintf(p.out, " %s %s\n", mark, line)
	case "plain":
		_, _ = fmt.Fprintf(p.out, "%s\n", line)
	case "json":
		p.json("progress", line)
	}
}

// result tells what was asked for, and is not quiet about it.
func (p *progress) result(line string) {
	if p.mode == "json" {
		p.json("result", line)
		return
	}
	_, _ = fmt.Fprintln(p.out, line)
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
