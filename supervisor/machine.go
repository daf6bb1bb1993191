package supervisor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// This page says all that can happen to an instance that has a supervisor. The engine is in
// one phase, and so is the context. Events come one by one. [loop.handle] says what each does
// in each phase; then [loop.advance] begins what the phases call for, and [loop.publish]
// computes the conditions from them.

// An enginePhase is where the engine is in its life.
type enginePhase int

const (
	engineLaunching  enginePhase = iota // the driver starts it, or adopts one that runs
	engineConnecting                    // it has a process; its API does not answer yet
	engineUp                            // its API answers
	engineDoubted                       // its API may have stopped answering, and is asked
	engineLost                          // its API has stopped answering, its process may go on
	engineAway                          // lost for so long that another context takes over; never one of ours
	engineDown                          // it has ended, and is started again after a delay
	engineLooping                       // it has ended too often, and stays down
	engineUndoing                       // it is being launched, but the start was taken back
	engineStopping                      // it is being ended
	engineEnded                         // nothing is left of it
)

// attached reports whether the engine has answered, and is not known to have ended since.
func (p enginePhase) attached() bool { return engineUp <= p && p <= engineAway }

// A contextPhase is where the instance's own context is. During an operation nothing else is
// done to it.
type contextPhase int

const (
	contextForeign     contextPhase = iota // the user's: it is left alone
	contextNone                            // not made yet
	contextMaking                          // operation
	contextMade                            // it exists, or can't; not promoted yet
	contextPromoting                       // operation
	contextDecided                         // promoted, or known why not
	contextClaiming                        // operation: the default socket is claimed for the engine, or given back
	contextGivingBack                      // operation: the replaced one becomes the current one again
	contextHandingBack                     // operation: another becomes the current one
	contextHandedBack                      // exists, and is not to be current
	contextRemoving                        // operation
	contextGone
)

// Events. Those that end an operation carry its result.
type (
	event any

	// Of the engine.
	launched struct {
		running engine.Running
		adopted bool // it ran before
		err     error
	}
	connected struct { // the wait for its API is over
		took time.Duration // to answer
		err  error
	}
	exited          struct{} // its process has ended
	retryDue        struct{} // the delay before another launch is over
	mirrored        struct{ mirror.Update }
	socketTouched   struct{}                // somebody may have removed its socket
	pinged          struct{ err error }     // the check of a doubted or lost engine is over
	problemsChanged struct{}                // its problems have changed
	endpointNew     struct{}                // the user's context leads elsewhere now
	graceKnown      struct{ time.Duration } // how long it has to stop its containers
	ended           struct {                // it was stopped, and its leftovers were removed
		killed []string // ids of containers
		err    error
	}

	// Of the context.
	judged struct { // the current context was probed, and the default sockets looked at
		dockercontext.Judgement
		sockets *claim.Look
	}
	judgedGone     struct{} // what was judged is gone with an instance of another home
	contextCreated struct{ dockercontext.Outcome }
	promoted       struct{ dockercontext.Outcome }
	answersAgain   struct{ context string } // the context that it replaced
	gaveBack       struct{ dockercontext.Outcome }
	claimed        struct{ dockercontext.Outcome }
	claimSeen      struct{ dockercontext.Outcome }                          // somebody has taken the default socket
	contextSeen    struct{ ready, promoted, claimed dockercontext.Outcome } // somebody may have changed it
	handedBack     struct{ context, socket dockercontext.Outcome }
	contextRemoved struct{ dockercontext.Outcome }

	// Of people and files.
	signalled    struct{ os.Signal }
	requested    struct{ requests.Request }
	answered     struct{ apply func() } // a call that a request made is over
	stateTouched struct{}               // somebody may have changed or removed the state file
)

// handle says what an event does in each phase. An event whose cause has ended never gets
// here (see [message]): one that only comes in certain phases does not check the phase.
func (l *loop) handle(ev event) {
	l.handleEngine(ev)
	l.handleContext(ev)
	l.handlePeople(ev)
}

func (l *loop) handleEngine(ev event) {
	e := &l.engine
	switch ev := ev.(type) {
	case launched:
		switch {
		case e.phase == engineStopping: // it had to be known what to stop
			l.endEngine(ev.running)
		case e.phase == engineUndoing:
			l.undo(ev)
		case ev.err != nil:
			l.engineFailed(ev.err)
		default:
			l.connect(ev.running, ev.adopted)
		}
	case connected:
		l.engineConnected(ev)
	case exited:
		e.exited = nil
		if e.phase != engineStopping { // where it is expected
			l.engineFailed(errors.New(lastWords(e.process)))
		}
	case retryDue:
		if e.phase == engineDown {
			l.launch()
		}
	case mirrored:
		l.applyUpdate(ev.Update)
		switch s := ev.Sync; {
		case s == nil || !e.phase.attached():
		case s.Connected:
			l.engineAnswers()
		case s.Reason == state.ReasonDisconnected:
			l.checkEngine()
		}
	case socketTouched:
		e.touched = true
		l.checkEngine()
	case pinged:
		l.enginePinged(ev)
	case problemsChanged:
		e.problems, e.problemsChanged = e.process.Problems()
	case endpointNew:
		if e.phase == engineConnecting || e.phase.attached() {
			l.releaseEngine()
			l.disconnect("the engine is looked for where its context leads now")
			if l.mirror.source != nil {
				l.mirror.source.Wake() // it would go on with the former one
			}
			l.launch()
		}
	case graceKnown:
		l.stop.grace = ev.Duration
		l.notify.extendTimeout(ev.Duration)
	case ended:
		e.phase, e.running, e.process, e.exited, e.problemsChanged = engineEnded, nil, nil, nil, nil
		l.stop.killed, l.stop.err = l.containerNames(ev.killed), ev.err
	}
}

func (l *loop) engineConnected(ev connected) {
	e := &l.engine
	if ev.err != nil {
		err := fmt.Errorf("no connection to the engine: %w", ev.err)
		if e.process != nil && e.process.LastError() != "" {
			err = fmt.Errorf("%w: %s", err, e.process.LastError())
		}
		l.engineFailed(err)
		return
	}
	if e.patience = slowFactor * ev.took; e.patience > checkTimeout {
		l.log.Warn("the engine is slow", "part", "engine", "ping", ev.took)
	}
	l.engineAnswers()
	l.mirrorEngine()
	l.watchEngineSocket()
}

func (l *loop) enginePinged(ev pinged) {
	e := &l.engine
	e.pinging = false
	connected := l.mirror.synced.Reason != state.ReasonDisconnected
	switch {
	case e.phase == engineUp: // the mirror was connected sooner
	case ev.err != nil:
		l.engineMissing(ev.err)
		if connected { // else the mirror looks again
			l.after(e.session, recheckDelay, socketTouched{})
		}
	case connected:
		l.engineAnswers()
	}
	if ev.err == nil && e.touched {
		e.touched = false
		l.mirrorEngine() // the socket may be another engine's now
	}
}

func (l *loop) handleContext(ev event) {
	c := &l.context
	switch ev := ev.(type) {
	case judged:
		c.judgement, c.sockets = &ev.Judgement, ev.sockets
	case contextCreated:
		c.phase, c.ready, c.unmade = contextMade, ev.Outcome, ev.Reason != state.ReasonCreated
		l.watchContext() // somebody may make it, too
	case promoted:
		c.phase, c.promoted, c.replacedAnswers = contextDecided, ev.Outcome, false
		if !c.isCurrent() {
			c.sockets = nil // it is of the start, and would be old for a claim that comes later
		}
		if ev.Reason == state.ReasonPromoted {
			l.watchReplaced()
		}
	case answersAgain:
		c.replacedAnswers = c.isCurrent() && c.judgement.Stored == ev.context
	case gaveBack:
		c.phase, c.replacedAnswers = contextDecided, false
		if ev.Changed {
			c.promoted = ev.Outcome
		}
	case claimed:
		c.phase, c.claimed = contextDecided, ev.Outcome
		if ev.Reason == state.ReasonClaimed {
			l.watchSocket()
		}
	case claimSeen:
		if c.phase == contextDecided && c.claimed.Reason == state.ReasonClaimed {
			c.claimed = ev.Outcome
		}
	case contextSeen:
		if l.stop == nil && c.see(ev) {
			l.judgeCurrent()
		}
		l.followElsewhere()
	case judgedGone:
		if c.phase == contextDecided && !c.isCurrent() {
			c.phase, c.judgement = contextMade, nil
			l.judgeCurrent()
		}
	case handedBack:
		c.phase, c.promoted, c.claimed = contextHandedBack, ev.context, ev.socket
	case contextRemoved:
		c.phase, c.ready = contextGone, ev.Outcome
	}
}

func (l *loop) handlePeople(ev event) {
	switch ev := ev.(type) {
	case signalled:
		l.takeSignal(ev.Signal)
	case requested:
		switch {
		case l.file.gone: // it is another instance's
		case ev.Type == requests.RequestStop:
			l.takeStop(ev.Request)
		case l.stop != nil:
			l.dropRequests()
		case l.mirror.executor == nil:
			l.early = append(l.early, ev.Request)
		default:
			l.mirror.executor.Accept(ev.Request)
		}
	case answered:
		ev.apply()
	case stateTouched:
		switch {
		case !l.removed():
			l.store.Check()
		case !l.file.gone:
			l.orphaned()
		}
	}
}

// askStop says what a request to stop does in each phase.
func (l *loop) askStop(o requests.StopOptions) {
	e := &l.engine
	switch {
	case l.stop != nil:
		l.stop.join(o)
	case o.Undo && e.phase == engineLaunching: // is there an engine that goes on?
		e.phase, e.undo = engineUndoing, o
		e.cancelLaunch()
	case o.Undo && e.adopted:
		l.detach()
	default:
		l.shutDown(stopRun{StopOptions: o})
	}
}

// advance begins what the phases call for: the context follows the engine, and when nothing
// is left to stop, the loop ends.
func (l *loop) advance() {
	e, c := &l.engine, &l.context
	l.usable.Store(l.promotable()) // before anything is handed back: promotions read it
	if l.done {
		return
	}
	if c.busy() {
		return // until the event that ends the operation
	}
	if c.missed {
		c.missed = false
		l.async(l.ctx, l.lookAtContext)
	}
	keep := c.phase == contextForeign || l.stop != nil && l.stop.KeepFor.Alive()
	leave := l.stop != nil || e.phase == engineLooping || e.phase == engineAway
	switch {
	case l.stop != nil && e.phase == engineEnded && (keep || c.phase == contextGone):
		l.last()
	case keep:
	case leave && c.phase < contextHandedBack:
		l.handBack()
	case l.stop != nil && e.phase == engineEnded:
		l.removeContext()
	case leave || !l.promotable():
	case c.phase == contextNone:
		l.makeContext()
	case c.phase == contextHandedBack: // the engine is up again
		c.phase, c.judgement = contextMade, nil
		if c.claimed.Reason != state.ReasonClaimed { // it was given back, too
			c.claimed = dockercontext.Outcome{}
		}
		l.judgeCurrent()
	case c.phase == contextMade && c.judgement != nil:
		l.promote()
	case c.phase == contextDecided && c.replacedAnswers:
		l.giveBack()
	case c.phase == contextDecided && c.isCurrent() && c.claimed.Reason == "":
		l.claim()
	case c.phase == contextDecided && !c.isCurrent() && c.claimed.Reason == state.ReasonClaimed:
		l.release()
	}
}

// promotable reports whether the context may become the current one. An engine that has
// crashed and is started again still counts.
func (l *loop) promotable() bool {
	switch l.engine.phase {
	case engineAway, engineLooping, engineUndoing, engineStopping, engineEnded:
		return false
	}
	return l.engine.answered && l.stop == nil
}
