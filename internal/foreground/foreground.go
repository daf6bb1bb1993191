// Package foreground runs a command instead of this program: it gets the signals that this
// program gets, and its exit status is this program's.
package foreground

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// ExecArg before a working directory and a command makes this program run it there, if it exists, and in
// the pid namespace that is its file number 3. It is for nsenter, which enters other namespaces itself;
// but a process can't enter that one, it only has its children born there, and nsenter as a parent
// passes on no signal. nsenter before util-linux 2.38 can't change to a directory in the namespaces.
const ExecArg = "__exec"

// Run runs the command with this process's input and output, and returns its exit status, 128+n if
// signal n has ended it. It returns an error if the command can't be executed, with the status that
// shells have for that. If ctx ends, the command gets an interrupt, and decides.
func Run(ctx context.Context, cmd *exec.Cmd) (status int, err error) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return failure.CodeNotFound, err
		}
		return failure.CodeNotRunnable, err
	}
	done := make(chan struct{})
	go passOn(ctx, cmd.Process, signals, done)
	err = cmd.Wait()
	close(done)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	return exitStatus(cmd.ProcessState), err
}

// passOn forwards signals to the command, except for those that the terminal sends to both.
func passOn(ctx context.Context, p *os.Process, signals <-chan os.Signal, done <-chan struct{}) {
	told := ctx.Done()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = p.Signal(s)
			}
		case <-told:
			told = nil
			// Another cause is a signal, which is passed on itself.
			if context.Cause(ctx) == context.Canceled && !fromTerminal(os.Interrupt) {
				_ = p.Signal(os.Interrupt)
			}
		case <-done:
			return
		}
	}
}
