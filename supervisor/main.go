package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// RunMain turns the process into the supervisor that it was started as and does not
// return then. In any other process it does nothing.
func RunMain() {
	if len(os.Args) < 3 || os.Args[1] != wire.Verb {
		return
	}
	var toStop *wire.StopOptions
	if len(os.Args) > 3 {
		toStop = &wire.StopOptions{}
		if err := json.Unmarshal([]byte(os.Args[3]), toStop); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(supervise(os.Args[2], toStop))
}

// supervise runs the supervisor of the instance in dir until it is told to end, or only
// to stop what the last one has left behind, and returns the exit status: 0 also where
// there is a supervisor already, unless it should have stopped the instance.
func supervise(dir string, toStop *wire.StopOptions) int {
	closeInherited()
	liftLimits()
	// The end of the terminal or of a pipe of whoever started it must not end it.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)

	load := func() (*instance.Instance, error) {
		inst, err := instance.LoadDir(dir)
		if toStop != nil {
			return instance.Salvage(inst, err)
		}
		return inst, err
	}
	inst, err := load()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Before the lock is taken: it tells others whom to send signals to.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	release, err := lock.TryAcquire(inst.Paths.SupervisorLock())
	switch {
	case errors.Is(err, lock.ErrHeld) && toStop != nil:
		return wire.ExitHeld
	case errors.Is(err, lock.ErrHeld):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()
	// Whoever had the lock may have removed the instance.
	if inst, err = load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}

	log := newLog(os.Stderr, inst)
	slog.SetDefault(log) // for what libraries log
	l, err := newLoopFor(inst, log)
	if err == nil {
		defer keepLogs(inst, log)()
		err = l.run(signals, toStop)
	}
	if err != nil {
		log.Error("supervisor ends", "error", err)
		if errors.Is(err, syscall.ENOSPC) {
			return wire.ExitNoSpace // what it says may have no place either
		}
		return 1
	}
	return 0
}
