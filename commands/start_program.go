package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/pause"
)

const (
	// downTimeout is how long an engine may take to show that it is up.
	downTimeout = 3 * time.Second
	// programTimeout is how long another program may take to start, beside --timeout: the first
	// start of a virtual machine downloads its image.
	programTimeout = 10 * time.Minute
	// programGrace is how long one that is told to end may take.
	programGrace = 5 * time.Second
)

// A programStart says whether start may start the program whose engine an instance adopts.
type programStart struct {
	wanted bool       // by --start
	ask    bool       // there is somebody to ask
	one    sync.Mutex // several instances may belong to one program, which is started once
}

// startProgram starts the program whose engine the instance is to adopt, if that is down and its user
// wants it, and waits until the engine answers.
func (a *app) startProgram(ctx context.Context, name string, change func(*instance.Settings) error, o *programStart, t reporter) error {
	if !o.wanted && !o.ask {
		return nil
	}
	p, err := a.planned(name, change)
	if err != nil || !p.Settings.Adopts() || !isDown(ctx, p.Instance) {
		return err
	}
	i := p.Instance
	program, known := engine.ProgramOf(i)
	if !known {
		if !o.wanted {
			return nil
		}
		return failure.Refuse("instance %q: its engine does not run, and no program is known that starts it", i.Name)
	}
	if !o.wanted {
		if yes, err := a.confirm(ctx, "%s is not running. Start it by %q?", program.Name, program.Command()); err != nil || !yes {
			return err
		}
	}
	path, err := exec.LookPath(program.Start[0])
	if err != nil {
		return failure.Refuse("%s is not running, and its program %q is not on the PATH", program.Name, program.Start[0])
	}
	o.one.Lock()
	defer o.one.Unlock()
	if !isDown(ctx, i) {
		return ctx.Err()
	}
	limit, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	return runProgram(limit, i, program, path, t.of(i.Name, "program"))
}

// isDown reports whether nobody answers at an adopted engine's endpoint. One that hangs, or is
// somebody else's, is not down.
func isDown(ctx context.Context, i *instance.Instance) bool {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	ep, err := endpointOf(i)
	if err == nil {
		_, err = ep.Ping(ctx)
	}
	return err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrPermission)
}

// runProgram runs a program's start command, and waits until the engine answers.
func runProgram(ctx context.Context, i *instance.Instance, program engine.Program, path string, t reporter) error {
	// A file, not a pipe: the processes that the program leaves behind go on writing to it.
	out, err := os.CreateTemp("", "docker-rd-start-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	last := tailOf(out.Name())
	t.because(last).doing(program.Name+" is starting: "+program.Command(), program.Name+" did not start")
	cmd := exec.CommandContext(ctx, path, program.Start[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = programGrace
	err = cmd.Run()
	for err == nil && isDown(ctx, i) {
		_ = pause.For(ctx, 100*time.Millisecond)
	}
	detail := program.Command()
	if line := last(); line != "" {
		detail += ": " + line
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure.Timeout("%s did not start in time: %s", program.Name, detail)
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%s did not start (%w): %s", program.Name, err, detail)
	}
	t.did(program.Name + " runs")
	return nil
}
