package supervisor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/lock"
)

// RunMain turns the process into the supervisor that it was started as and does not
// return then. In any other process it does nothing.
func RunMain() {
	if len(os.Args) == 3 && os.Args[1] == verb {
		os.Exit(supervise(os.Args[2]))
	}
}

// supervise runs the supervisor of the instance in dir until it is told to end, and
// returns the exit status: 0 also where there is a supervisor already.
func supervise(dir string) int {
	// The terminal and the pipes of whoever started it are of no concern.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	// A mirror is idle nearly always: memory is dearer to its machine than the time
	// that a collection takes.
	debug.SetGCPercent(50)

	inst, err := engine.LoadDir(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	release, err := lock.TryAcquire(inst.Paths.SupervisorLock())
	if errors.Is(err, lock.ErrHeld) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()

	log := newLog(os.Stderr, inst)
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	l, err := newLoopFor(inst, log)
	if err == nil {
		err = l.run(told, l.begin)
	}
	if err != nil {
		log.Error("supervisor ends", "error", err)
		return 1
	}
	return 0
}

func newLog(w io.Writer, i *engine.Instance) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil)).With("instance", i.Name)
}
