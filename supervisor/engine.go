package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

const (
	// firstDelay is how long an engine that has ended stays down; each failure in a row
	// doubles it.
	firstDelay = 250 * time.Millisecond
	// maxFailures in a row make a crash loop.
	maxFailures = 5
	// steady is how long an engine must have answered for its next failure to begin a
	// new row.
	steady = 30 * time.Second
	// connectDelay is the time between two attempts to connect to a starting engine.
	connectDelay = 5 * time.Millisecond
	// pingTimeout is how long a starting engine may take to answer a ping, at first: if it does not,
	// the next one may take longer, up to maxPingTimeout. An engine in a machine that is
	// emulated, or busy, may be so slow.
	pingTimeout    = 10 * time.Second
	maxPingTimeout = 5 * time.Minute
	// checkTimeout is how long a doubted engine may take to answer before it counts as
	// unresponsive. One that is slow may take slowFactor times as long as at its start.
	checkTimeout = 3 * time.Second
	slowFactor   = 4
	// recheckDelay is how long after a failed check an engine is asked again while the mirror's
	// connection goes on.
	recheckDelay = time.Second
	// lostAfter is how long an engine that is not ours may be lost before the current
	// context is handed back.
	lostAfter = 30 * time.Second
)

// engineRun is the engine as the loop sees it.
type engineRun struct {
	phase   enginePhase
	reason  state.Reason // why it is lost, away, down or looping
	message string

	running engine.Running // nil while there is none
	process engine.Process // the running engine, where it is ours
	exited  <-chan struct{}

	problems        []engine.Problem // of the running engine
	problemsChanged <-chan struct{}  // closed when they change

	adopted      bool                 // it ran before this supervisor
	undo         requests.StopOptions // of a start that was taken back during the launch
	cancelLaunch context.CancelFunc   // ends the launch; the driver leaves nothing behind
	session      context.Context      // ends with the engine's process, or with a stop
	end          context.CancelFunc

	answered bool      // at least once
	proven   bool      // it answered, or was adopted: from then on it is started again
	failures int       // in a row
	upSince  time.Time // zero while it does not answer
	lost     time.Time // since when it is doubted, lost or away
	pinging  bool      // it is asked whether it answers
	touched  bool      // its socket may have been replaced since it answered

	patience time.Duration // how long it may take to answer, if that is more than usual

	firstDelay, lostAfter, pingTimeout time.Duration // the constants
}

// launch starts or adopts the engine. A stop makes the driver give up, and waits for it: it
// must know what to stop.
func (l *loop) launch() {
	ctx, cancel := context.WithCancel(l.ctx)
	l.engine.phase, l.engine.cancelLaunch = engineLaunching, cancel
	l.async(l.ctx, func(context.Context) event {
		defer cancel()
		return startOrAdopt(ctx, l.driver)
	})
}

// startOrAdopt makes the engine run. To look for leftovers takes time, and Start does so
// anyway: it comes first, unless the engine is known to run.
func startOrAdopt(ctx context.Context, d engine.Driver) launched {
	if d.Life() != engine.Alive {
		if running, err := d.Start(ctx); !errors.Is(err, engine.ErrRunning) {
			return launched{running: running, err: err}
		}
	}
	if running, err := d.Adopt(ctx); running != nil || err != nil {
		return launched{running: running, adopted: true, err: err}
	}
	running, err := d.Start(ctx) // the one to adopt has just ended
	return launched{running: running, err: err}
}

// adoptToStop adopts an engine without a supervisor, only to stop it.
func (l *loop) adoptToStop() {
	l.async(l.ctx, func(ctx context.Context) event {
		running, err := l.driver.Adopt(ctx)
		if err != nil {
			l.log.Error("engine not adopted", "part", "engine", "error", err) // Cleanup ends it by force
		}
		return launched{running: running, adopted: true, err: err}
	})
}

// connect waits for the API of an engine that was launched.
func (l *loop) connect(running engine.Running, adopted bool) {
	e := &l.engine
	e.phase, e.running = engineConnecting, running
	e.session, e.end = context.WithCancel(l.ctx)
	e.adopted = adopted
	e.proven = e.proven || adopted
	if p, ok := running.(engine.Process); ok {
		e.process, e.exited = p, p.Exited()
		e.problems, e.problemsChanged = p.Problems()
		l.store.SetEngineProcess(p.ID().PID, p.ID().StartedAt())
		l.log.Info("engine process", "part", "engine", "pid", p.ID().PID, "adopted", adopted)
	}
	if ep, err := l.driver.Endpoint(); err == nil {
		l.store.SetHost(ep.Shown())
	}
	if !adopted {
		if err := l.inst.RecordStarted(); err != nil {
			l.log.Warn("settings not recorded", "error", err)
		}
	}
	ours := e.process != nil
	first := e.pingTimeout
	l.async(e.session, func(ctx context.Context) event {
		took, err := l.awaitAPI(ctx, ours, first)
		return connected{took, l.explain(ctx, err)}
	})
}

// watchEngineSocket checks the engine when somebody removes or replaces its socket: the
// mirror's connection goes on, but no other program can connect.
func (l *loop) watchEngineSocket() {
	socket := engine.LocalSocket(l.driver)
	was, err := os.Lstat(socket)
	if err != nil {
		return
	}
	dirs := func() []string { return []string{filepath.Dir(socket)} }
	l.watch(l.engine.session, "socket", dirs, func(send func(event)) (more bool) {
		now, err := os.Lstat(socket)
		if (err == nil) != (was != nil) || err == nil && !os.SameFile(now, was) {
			send(socketTouched{})
		}
		if was = now; err != nil {
			was = nil
		}
		return true
	})
}

// awaitAPI returns when the API answers, and how long that takes over a new connection. An engine
// that is not ours gets one try: it may never come.
func (l *loop) awaitAPI(ctx context.Context, ours bool, timeout time.Duration) (took time.Duration, err error) {
	api, err := l.connectEngine()
	if err != nil {
		return 0, err
	}
	defer api.Close()
	for {
		took, err = ping(ctx, api, timeout)
		// A containerd that could not load its plugins will never have them.
		if err == nil || !ours || cerrdefs.IsNotImplemented(err) {
			break
		}
		if errors.Is(err, context.DeadlineExceeded) {
			timeout = min(2*timeout, maxPingTimeout)
		}
		if err := pause.For(ctx, connectDelay); err != nil {
			return 0, err
		}
	}
	if err != nil || took < checkTimeout/slowFactor {
		return took, err
	}
	// It may have waited for the engine's start.
	again, err := l.connectEngine()
	if err != nil {
		return took, nil
	}
	defer again.Close()
	if slow, err := ping(ctx, again, timeout); err == nil {
		took = slow
	}
	return took, nil
}

// ping returns how long an engine took to answer, and an error where anything else does.
func ping(ctx context.Context, api mirror.Engine, timeout time.Duration) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begin := time.Now()
	err = api.Ping(ctx)
	return time.Since(begin), err
}

// engineAnswers notes that the engine can be used, for the first time or again.
func (l *loop) engineAnswers() {
	e := &l.engine
	e.phase, e.reason, e.message = engineUp, "", ""
	e.answered, e.proven = true, true
	if e.upSince.IsZero() {
		e.upSince = time.Now()
	}
	l.store.SetLastFailure(nil)
}

// engineFailed deals with an engine that could not be started or reached, or has ended. One
// that was never there is given up, another is started again.
func (l *loop) engineFailed(err error) {
	words := err.Error()
	e := &l.engine
	e.phase, e.reason, e.message = engineDown, state.ReasonExited, words
	if e.running != nil && e.process == nil {
		e.reason = state.ReasonConnectFailed
	}
	l.releaseEngine()
	l.store.SetEngineProcess(0, time.Time{})
	l.disconnect("the engine is not running")
	if !e.upSince.IsZero() && time.Since(e.upSince) >= steady {
		e.failures = 0
	}
	e.upSince, e.adopted = time.Time{}, false
	e.failures++
	switch {
	case !e.proven: // a start waits for it: say so, and leave nothing
		l.shutDown(stopRun{failure: errors.New(words)})
	case e.failures > maxFailures && e.reason == state.ReasonExited:
		e.phase, e.reason = engineLooping, state.ReasonCrashLoop
		e.message = fmt.Sprintf("it ended %d times in a row and stays down: %s", e.failures, words)
	default:
		delay := e.firstDelay << min(e.failures-1, maxFailures)
		l.log.Warn("engine is started again", "part", "engine", "in", delay, "failures", e.failures)
		l.after(l.ctx, delay, retryDue{})
	}
	l.store.SetLastFailure(&state.Failure{Reason: e.reason, Message: e.message, Hint: failure.Hint(err), Time: time.Now()})
}

// lastWords returns the last error of an engine that has ended.
func lastWords(p engine.Process) string {
	if words := p.LastError(); words != "" {
		return words
	}
	return "the engine ended without a message"
}

// releaseEngine releases an engine that has ended by itself or is to go on.
func (l *loop) releaseEngine() {
	e := &l.engine
	if e.end != nil {
		e.end()
	}
	if e.running != nil {
		e.running.Release()
	}
	e.running, e.process, e.exited, e.pinging, e.touched = nil, nil, nil, false, false
	e.problems, e.problemsChanged = nil, nil
}

// checkEngine asks an engine whether it still answers.
func (l *loop) checkEngine() {
	e := &l.engine
	if e.phase == engineUp {
		e.phase, e.lost = engineDoubted, time.Now()
	}
	if e.pinging {
		return
	}
	e.pinging = true
	timeout := max(checkTimeout, e.patience)
	l.async(e.session, func(ctx context.Context) event {
		api, err := l.connectEngine()
		if err != nil {
			return pinged{err}
		}
		defer api.Close()
		_, err = ping(ctx, api, timeout)
		return pinged{l.explain(ctx, err)}
	})
}

// explain returns the error of a ping with a text that says why the engine could not be used.
func (l *loop) explain(ctx context.Context, err error) error {
	ep, epErr := l.driver.Endpoint()
	if epErr != nil {
		return err // which is the same, or soon will be
	}
	return dockercontext.Explain(ctx, ep, err)
}

// engineMissing notes why the engine has stopped answering.
func (l *loop) engineMissing(err error) {
	e := &l.engine
	e.reason, e.message = state.ReasonConnectFailed, err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		e.reason, e.message = state.ReasonUnresponsive, "the engine does not answer"
	}
	switch {
	case e.process == nil && time.Since(e.lost) >= e.lostAfter:
		e.phase = engineAway
	case e.phase == engineDoubted:
		e.phase = engineLost
	}
}
