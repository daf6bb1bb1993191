package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/endpoint"
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
	// pingDelay is how soon a connection to a starting engine is tried again.
	pingDelay = 5 * time.Millisecond
	// pingTimeout is how long an engine may take to answer a ping before it counts
	// as unresponsive.
	pingTimeout = 10 * time.Second
)

// engineRun is the engine as the loop sees it.
type engineRun struct {
	running    engine.Running // nil while there is none
	exited     <-chan struct{}
	launching  bool               // the driver is starting or adopting it
	giveUp     context.CancelFunc // ends the launching; the driver leaves nothing behind
	session    context.Context    // ends with the engine's process, or when told to stop
	end        context.CancelFunc
	failures   int // in a row
	firstDelay time.Duration
	lostAfter  time.Duration
	since      time.Time // when it last began to answer; zero while it does not
	undo       bool      // the start is to be taken back, once the launching has ended
	adopted    bool      // it was there before this supervisor
	proven     bool      // it answered once, or is adopted
	lost       time.Time // since when the mirror is not connected; zero while it is
	checking   bool      // a ping is to find out why it is lost
}

// begin starts what a supervisor is there for. The current context is judged while
// the engine starts.
func (l *loop) begin() {
	l.beginContext()
	l.launch()
}

// launch starts the engine, or adopts it. A stop makes the driver give up, and waits for
// it, since it must know what to stop.
func (l *loop) launch() {
	l.set(state.EngineReady, state.False, state.ReasonStarting, "the engine is starting")
	l.engine.launching = true
	launch, cancel := context.WithCancel(l.ctx)
	l.engine.giveUp = cancel
	l.beside(l.ctx, func(context.Context) func() {
		defer cancel()
		running, adopted, err := startOrAdopt(launch, l.driver)
		return func() { l.launched(running, adopted, err) }
	})
}

// startOrAdopt makes the engine run. To look for what is left of a former engine takes time,
// and Start must do so anyway: it comes first, unless an engine is known to run.
func startOrAdopt(ctx context.Context, d engine.Driver) (running engine.Running, adopted bool, err error) {
	if !d.Alive() {
		if running, err = d.Start(ctx); !errors.Is(err, engine.ErrRunning) {
			return running, false, err
		}
	}
	if running, err = d.Adopt(ctx); running != nil || err != nil {
		return running, true, err
	}
	running, err = d.Start(ctx) // the one to adopt has ended in this very moment
	return running, false, err
}

func (l *loop) launched(running engine.Running, adopted bool, err error) {
	e := &l.engine
	e.launching = false
	if err == nil {
		e.running, e.exited = running, running.Exited()
		e.lost, e.checking = time.Time{}, false
		e.session, e.end = context.WithCancel(l.ctx)
		e.adopted = adopted
		e.proven = e.proven || adopted
		l.store.SetEngineProcess(running.PID(), running.StartedAt())
	}
	switch {
	case l.stopping != nil:
		l.stopEngine()
	case e.undo && adopted && err == nil:
		l.letGo()
	case e.undo:
		l.shutDown(&stopRun{})
	case err != nil:
		l.engineFailed(err.Error())
	default:
		l.log.Info("engine process", "part", "engine", "pid", running.PID(), "adopted", adopted)
		ours := e.exited != nil
		l.beside(e.session, func(ctx context.Context) func() {
			err := l.awaitAPI(ctx, ours)
			return func() { l.connected(err) }
		})
	}
}

// awaitAPI returns when the API answers. An engine that is not ours gets one try:
// nothing says that it will ever be there.
func (l *loop) awaitAPI(ctx context.Context, ours bool) error {
	api, err := l.dial(ctx)
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
		case <-time.After(pingDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ping returns nil when a Docker engine answers, and an error where anything else does.
func ping(ctx context.Context, api *endpoint.Client) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := api.About(ctx)
	return err
}

func (l *loop) connected(err error) {
	e := &l.engine
	if err != nil {
		l.engineFailed(fmt.Sprintf("no connection to the engine: %v", err))
		return
	}
	e.proven = true
	e.since = time.Now()
	l.set(state.EngineReady, state.True, state.ReasonConnected, "")
	l.usable.Store(true)
	l.makeContext()
	l.promote()
	l.watch()
}

// engineExited is called when the engine's process has ended by itself.
func (l *loop) engineExited() {
	l.engine.exited = nil
	if l.stopping != nil {
		return // expected
	}
	words := l.engine.running.LastError()
	if words == "" {
		words = "the engine ended without a word"
	}
	l.store.SetEngineProcess(0, time.Time{})
	l.engineFailed(words)
}

// engineFailed deals with an engine that could not be started, has ended, or could
// not be reached.
func (l *loop) engineFailed(words string) {
	e := &l.engine
	reason := state.ReasonExited
	if e.running != nil && e.running.PID() == 0 {
		reason = state.ReasonConnectFailed
	}
	if e.end != nil {
		e.end()
	}
	if e.running != nil {
		e.running.Release()
	}
	e.running, e.exited = nil, nil
	if !e.since.IsZero() && time.Since(e.since) >= steady {
		e.failures = 0
	}
	e.since = time.Time{}
	e.failures++
	l.store.Disconnect("the engine is not running")

	if !e.proven {
		// A start waits for an engine that never was: let it know, and leave nothing.
		l.set(state.EngineReady, state.False, reason, words)
		l.abandon(errors.New(words))
		return
	}
	if e.failures > maxFailures && reason == state.ReasonExited {
		l.usable.Store(false)
		l.set(state.EngineReady, state.False, state.ReasonCrashLoop,
			fmt.Sprintf("it ended %d times in a row and stays down: %s", e.failures, words))
		l.handBack(func() {})
		return
	}
	l.set(state.EngineReady, state.False, reason, words)
	delay := e.firstDelay << min(e.failures-1, maxFailures)
	l.log.Warn("engine is started again", "part", "engine", "in", delay, "failures", e.failures)
	l.after(l.ctx, delay, func() {
		if l.stopping == nil {
			l.launch()
		}
	})
}

// engineAnswers is called when the mirror is connected to the engine.
func (l *loop) engineAnswers() {
	e := &l.engine
	e.lost = time.Time{}
	if c, _ := l.store.Condition(state.EngineReady); c.Status == state.True || l.stopping != nil {
		return
	}
	l.set(state.EngineReady, state.True, state.ReasonConnected, "")
	if !l.usable.Swap(true) {
		// The current context was handed back meanwhile.
		l.context.judgement = nil
		l.judgeCurrent()
	}
}

// checkEngine finds out what is wrong when the mirror has lost the engine although
// its process, if it is ours, goes on.
func (l *loop) checkEngine() {
	e := &l.engine
	if e.checking || l.stopping != nil {
		return
	}
	if e.lost.IsZero() {
		e.lost = time.Now()
	}
	e.checking = true
	l.beside(e.session, func(ctx context.Context) func() {
		err := l.pingOnce(ctx)
		return func() {
			e.checking = false
			l.checked(err)
		}
	})
}

func (l *loop) pingOnce(ctx context.Context) error {
	api, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	return ping(ctx, api)
}

func (l *loop) checked(err error) {
	e := &l.engine
	switch {
	case err == nil || e.lost.IsZero():
		return // the mirror will be connected again soon, or is
	case errors.Is(err, context.DeadlineExceeded):
		l.set(state.EngineReady, state.Unknown, state.ReasonUnresponsive, "the engine does not answer")
	default:
		l.set(state.EngineReady, state.False, state.ReasonConnectFailed, err.Error())
	}
	if e.exited == nil && time.Since(e.lost) >= e.lostAfter && l.usable.Swap(false) {
		l.handBack(func() {})
	}
}
