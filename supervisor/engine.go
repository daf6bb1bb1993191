package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// firstDelay is how long after its end an engine is started again; each failure
	// in a row doubles it.
	firstDelay = 250 * time.Millisecond
	// maxFailures in a row make a crash loop.
	maxFailures = 5
	// steady is how long an engine must have answered for its next end to be the
	// first of a row.
	steady = 30 * time.Second
	// connectDelay is how soon a connection to a starting engine is tried again.
	connectDelay = 5 * time.Millisecond
	// pingTimeout is how long an engine may take to answer a ping before it counts
	// as unresponsive.
	pingTimeout = 10 * time.Second
	// checkTimeout is how long an engine may take to answer once there is doubt.
	checkTimeout = 3 * time.Second
	// lostAfter is how long an engine that is not ours may be lost before the current
	// context is handed back.
	lostAfter = 30 * time.Second
)

// engineRun is the engine as the loop sees it.
type engineRun struct {
	phase         enginePhase
	reason, words string // why it is lost, away, down or looping; "" while that is not known

	running engine.Running // nil while there is none
	process engine.Process // the running engine, where it is ours
	exited  <-chan struct{}

	problems []string        // of the running engine
	troubled <-chan struct{} // closed when there are others

	adopted bool               // it ran before this supervisor
	giveUp  context.CancelFunc // ends the launching; the driver leaves nothing behind
	session context.Context    // ends with the engine's process, or when told to stop
	end     context.CancelFunc

	answered bool      // by now, once
	proven   bool      // it answered, or was adopted: what fails afterwards is tried again
	failures int       // in a row
	upSince  time.Time // zero while it does not answer
	lost     time.Time // since when it is lost; zero while it is not
	pinging  bool      // a check of a lost engine is under way

	firstDelay, lostAfter time.Duration // the constants
}

// launch starts the engine, or adopts it. A stop makes the driver give up, and waits for
// it, since it must know what to stop.
func (l *loop) launch() {
	ctx, cancel := context.WithCancel(l.ctx)
	l.engine.phase, l.engine.giveUp = engineLaunching, cancel
	l.beside(l.ctx, func(context.Context) event {
		defer cancel()
		return startOrAdopt(ctx, l.driver)
	})
}

// startOrAdopt makes the engine run. To look for what is left of a former engine takes time,
// and Start must do so anyway: it comes first, unless an engine is known to run.
func startOrAdopt(ctx context.Context, d engine.Driver) launched {
	if d.Life() != engine.Alive {
		if running, err := d.Start(ctx); !errors.Is(err, engine.ErrRunning) {
			return launched{running: running, err: err}
		}
	}
	if running, err := d.Adopt(ctx); running != nil || err != nil {
		return launched{running: running, adopted: true, err: err}
	}
	running, err := d.Start(ctx) // the one to adopt has ended in this very moment
	return launched{running: running, err: err}
}

// adoptToStop takes over an engine without a supervisor, only to stop it.
func (l *loop) adoptToStop() {
	l.beside(l.ctx, func(ctx context.Context) event {
		running, err := l.driver.Adopt(ctx)
		if err != nil {
			l.log.Error("engine not adopted", "part", "engine", "error", err) // Cleanup ends it by force
		}
		return launched{running: running, adopted: true, err: err}
	})
}

// connect waits for the API of the engine that was launched.
func (l *loop) connect(running engine.Running, adopted bool) {
	e := &l.engine
	e.phase, e.running = engineConnecting, running
	e.session, e.end = context.WithCancel(l.ctx)
	e.adopted = adopted
	e.proven = e.proven || adopted
	if p, ok := running.(engine.Process); ok {
		e.process, e.exited = p, p.Exited()
		e.problems, e.troubled = p.Problems()
		l.store.SetEngineProcess(p.ID().PID, p.ID().StartedAt())
		l.log.Info("engine process", "part", "engine", "pid", p.ID().PID, "adopted", adopted)
	}
	if ep, err := l.driver.Endpoint(); err == nil {
		l.store.SetHost(ep.Host)
	}
	if !adopted {
		if err := l.inst.RecordStarted(); err != nil {
			l.log.Warn("settings not recorded", "error", err)
		}
	}
	ours := e.process != nil
	l.beside(e.session, func(ctx context.Context) event { return connected{l.awaitAPI(ctx, ours)} })
}

// watchEngineSocket has the engine checked when somebody has removed or replaced its socket:
// the mirror's connection goes on, but no other program can connect.
func (l *loop) watchEngineSocket() {
	socket := l.localSocket()
	was, err := os.Lstat(socket)
	if err != nil {
		return
	}
	watch, err := dirwatch.New(filepath.Dir(socket))
	if err != nil {
		l.log.Warn("socket is not watched", "part", "engine", "error", err)
		return
	}
	session := l.engine.session
	l.workers.Go(func() {
		defer watch.Close()
		for watch.Wait(session) == nil {
			now, err := os.Lstat(socket)
			if (err == nil) != (was != nil) || err == nil && !os.SameFile(now, was) {
				l.send(session, socketTouched{})
			}
			if was = now; err != nil {
				was = nil
			}
		}
	})
}

// awaitAPI returns when the API answers. An engine that is not ours gets one try:
// nothing says that it will ever be there.
func (l *loop) awaitAPI(ctx context.Context, ours bool) error {
	api, err := l.connectEngine(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	for {
		err := ping(ctx, api)
		if err == nil || !ours {
			return err
		}
		select {
		case <-time.After(connectDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ping returns nil when an engine answers, and an error where anything else does.
func ping(ctx context.Context, api mirror.Engine) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return api.Ping(ctx)
}

// engineAnswers notes that the engine can be used, for the first time or again.
func (l *loop) engineAnswers() {
	e := &l.engine
	e.phase, e.reason, e.words, e.lost = engineUp, "", "", time.Time{}
	e.answered, e.proven = true, true
	if e.upSince.IsZero() {
		e.upSince = time.Now()
	}
	l.store.SetLastFailure(nil)
}

// engineFailed deals with an engine that could not be started, has ended, or could not be
// reached: one that has never been there is given up, another is started again.
func (l *loop) engineFailed(words string) {
	e := &l.engine
	e.phase, e.reason, e.words = engineDown, state.ReasonExited, words
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
	case !e.proven: // a start waits for it: let it know, and leave nothing
		l.shutDown(stopRun{failure: errors.New(words)})
	case e.failures > maxFailures && e.reason == state.ReasonExited:
		e.phase, e.reason = engineLooping, state.ReasonCrashLoop
		e.words = fmt.Sprintf("it ended %d times in a row and stays down: %s", e.failures, words)
	default:
		delay := e.firstDelay << min(e.failures-1, maxFailures)
		l.log.Warn("engine is started again", "part", "engine", "in", delay, "failures", e.failures)
		l.after(l.ctx, delay, retryDue{})
	}
	l.store.SetLastFailure(&state.Failure{Reason: e.reason, Message: e.words, Time: time.Now()})
}

// lastWords returns what the engine, which has ended, said of an error.
func lastWords(p engine.Process) string {
	if words := p.LastError(); words != "" {
		return words
	}
	return "the engine ended without a word"
}

// releaseEngine lets go of an engine that has ended by itself, or is to go on.
func (l *loop) releaseEngine() {
	e := &l.engine
	if e.end != nil {
		e.end()
	}
	if e.running != nil {
		e.running.Release()
	}
	e.running, e.process, e.exited, e.lost, e.pinging = nil, nil, nil, time.Time{}, false
	e.problems, e.troubled = nil, nil
}

// checkEngine finds out what is wrong when the mirror has lost the engine although
// its process, if it is ours, goes on.
func (l *loop) checkEngine() {
	e := &l.engine
	if e.phase == engineUp {
		e.phase, e.lost = engineLost, time.Now()
	}
	if e.pinging {
		return
	}
	e.pinging = true
	l.beside(e.session, func(ctx context.Context) event {
		api, err := l.connectEngine(ctx)
		if err != nil {
			return pinged{err}
		}
		defer api.Close()
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		return pinged{ping(ctx, api)}
	})
}

// engineMissing notes why the engine has stopped answering.
func (l *loop) engineMissing(err error) {
	e := &l.engine
	e.reason, e.words = state.ReasonConnectFailed, err.Error()
	if errors.Is(err, context.DeadlineExceeded) {
		e.reason, e.words = state.ReasonUnresponsive, "the engine does not answer"
	}
	if e.process == nil && time.Since(e.lost) >= e.lostAfter {
		e.phase = engineAway
	}
}
