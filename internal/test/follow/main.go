// Program follow runs the sessions of a page in a home directory, on a terminal, and compares what
// is printed. It is for scripts/fresh-root, where docker rd is what the page has installed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"

	"github.com/docker-rd/docker-rd/internal/test/console"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

func main() {
	rootFS := flag.String("rootfs", "", "only make the image's root file system, and the port proxy, in a `directory`")
	statuses := flag.Bool("statuses", false, "compare nothing: every command must succeed")
	flag.Parse()
	if err := run(*rootFS, flag.Arg(0), *statuses); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(rootFS, page string, statuses bool) error {
	if rootFS != "" {
		_, _, err := realengine.Built(rootFS)
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	steps, err := console.Parse(string(text))
	if err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	term, err := console.Open(home, fmt.Sprintf("/run/user/%d", os.Getuid()), func(argv ...string) *exec.Cmd { return exec.Command(argv[0], argv[1:]...) })
	if err != nil {
		return err
	}
	var wrong []error
	for _, step := range steps {
		if err := take(term, step, statuses); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: line %d: %w", page, step.Line, err))
		}
	}
	return errors.Join(append(wrong, term.Close())...)
}

func take(term *console.Terminal, step console.Step, statuses bool) error {
	switch {
	case step.File != "":
		return term.Write(step.File, step.Text)
	case step.Script != "":
		return term.Run(step.Script)
	}
	fmt.Println("$", step.Command)
	out, code, err := term.Do(step.Command)
	switch {
	case err != nil:
		return err
	case !statuses:
		return console.Match(step.Output, out)
	case code != 0:
		return fmt.Errorf("%s: exit status %d: %s", step.Command, code, out)
	}
	return nil
}
