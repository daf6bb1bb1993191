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
	// Before the lock is taken: others signal its holder.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if foreground && !signal.Ignored(syscall.SIGHUP) { // without a process manager, its terminal may be closed
		signal.Notify(signals, syscall.SIGHUP)
	}

	inst, release, err := hold(dir, toStop != nil)
	if held, ok := errors.AsType[*lock.HeldError](err); ok {
		switch {
		case toStop != nil:
			return wire.ExitHeld
		case !foreground:
			return 0
		case held.Holder.Role == wire.Role:
			err = failure.Refuse("instance %q runs already: %w", inst.Name, held)
		default: // a command, such as a sync: a process manager tries again
			err = failure.WithCode(fmt.Errorf("start instance %q: %w", inst.Name, held), failure.CodeFailed)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		report(wire.Failed(err))
		return failure.Code(err)
	}
	defer release()

	log := newLog(os.Stderr, inst)
	slog.SetDefault(log) // for what libraries log
	if !foreground {
		defer leaveCaller(inst, log)()
	}
	l, err := newLoopFor(inst, log)
	if err == nil {
		l.notify = notify
		defer keepLogs(inst, log)()
		err = l.run(signals, toStop)
	}
	if err != nil {
		log.Error("supervisor ends", "error", err)
		report(wire.Failed(err))
		return 1
	}
	report(wire.Report{Killed: l.killed()})
	return 0
}

// hold loads the instance in dir and takes its supervisor lock. For a stop, damaged settings are
// replaced by their copy, and requests are not needed. If the lock is held, there is an instance
// beside the error.
func hold(dir string, forStop bool) (inst *instance.Instance, release func(), err error) {
	load := func() (*instance.Instance, error) {
		if forStop {
			return instance.Salvage(instance.LoadDir(dir))
		}
		return instance.LoadDir(dir)
	}
	if inst, err = load(); err != nil {
		return nil, nil, err
	}
	if release, err = lock.TryAcquireAs(inst.Paths.SupervisorLock(), wire.Role); err != nil {
		return inst, nil, err
	}
	// The former holder of the lock may have removed the instance.
	if inst, err = load(); err == nil && !forStop {
		if err = os.MkdirAll(inst.Paths.RequestsDir(), 0o700); err != nil {
			err = fmt.Errorf("directory of requests: %w", err)
		}
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return inst, release, nil
}
