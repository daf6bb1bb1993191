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
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/requests"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// RunMain becomes the supervisor, and does not return, if the process was started as one.
// Otherwise it does nothing.
func RunMain() {
	if len(os.Args) < 3 || os.Args[1] != wire.Verb {
		return
	}
	var toStop *requests.StopOptions
	foreground := len(os.Args) > 3 && os.Args[3] == wire.Foreground
	if len(os.Args) > 3 && !foreground {
		toStop = &requests.StopOptions{}
		if err := json.Unmarshal([]byte(os.Args[3]), toStop); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(supervise(os.Args[2], toStop, foreground))
}

// supervise runs the supervisor of the instance in dir until it is told to stop; with toStop
// it only stops what an earlier one has left. It returns the exit status, which is 0 also
// where another supervisor runs that need not stop. It reports a failure to the process that
// started it. In the foreground it belongs to a process manager: it keeps its groups and
// limits, and notifies it.
func supervise(dir string, toStop *requests.StopOptions, foreground bool) int {
	notify := newNotifier()
	closeInherited()
	report := func(r wire.Report) { r.Write(os.Stdout) }
	if foreground {
		report = func(wire.Report) {} // the log has it
	} else {
		liftLimits()
		// The end of the terminal that it was started from must not end it.
		signal.Ignore(syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE)
	// failed says why there is no supervisor, and returns its exit status.
	failed := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		report(wire.Failed(err))
		return failure.Code(err)
	}

	load := func() (*instance.Instance, error) {
		inst, err := instance.LoadDir(dir)
		if toStop != nil {
			return instance.Salvage(inst, err)
		}
		return inst, err
	}
	inst, err := load()
	if err != nil {
		return failed(err)
	}
	// Before the lock is taken: others signal its holder.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	release, err := lock.TryAcquireAs(inst.Paths.SupervisorLock(), wire.Role)
	switch {
	case errors.Is(err, lock.ErrHeld) && toStop != nil:
		return wire.ExitHeld
	case errors.Is(err, lock.ErrHeld) && foreground:
		return failed(failure.Refuse("instance %q runs already: %w", inst.Name, err))
	case errors.Is(err, lock.ErrHeld):
		return 0
	case err != nil:
		return failed(err)
	}
	defer release()
	// The former holder of the lock may have removed the instance.
	if inst, err = load(); err != nil {
		return failed(err)
	}

	if toStop == nil {
		if err := os.MkdirAll(inst.Paths.RequestsDir(), 0o700); err != nil {
			return failed(fmt.Errorf("directory of requests: %w", err))
		}
	}

	log := newLog(os.Stderr, inst)
	slog.SetDefault(log) // for what libraries log
	if !foreground {
		defer leaveCaller(inst, log)()
	}
	l, err := newLoopFor(inst, log)
	if err != nil {
		log.Error("supervisor ends", "error", err)
		report(wire.Failed(err))
		return 1
	}
	l.notify = notify
	defer keepLogs(inst, log)()
	if err := l.run(signals, toStop); err != nil {
		log.Error("supervisor ends", "error", err)
		report(wire.Failed(err))
		return 1
	}
	report(wire.Report{Killed: l.killed()})
	return 0
}
