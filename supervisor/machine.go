package supervisor

import (
	"fmt"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/requests"
)

// This page is all that can happen to an instance that has a supervisor. Its engine is in
// one phase, and so is its context. What happens is an event, and events come one by one.
// [loop.handle] says what each does in each phase. Then [loop.advance] begins what the
// phases call for, and [loop.publish] computes the conditions from them.

// An enginePhase is where the engine is in its life.
type enginePhase int

const (
	engineLaunching  enginePhase = iota // the driver starts it, or adopts one that runs
	engineConnecting                    // it has a process; its API does not answer yet
	engineUp                            // its API answers
	engineLost                          // its API has stopped answering, its process may go on
	engineAway                          // lost for so long that another context takes over; never one of ours
	engineDown                          // it has ended, and is started again after a delay
	engineLooping                       // it has ended too often, and stays down
	engineUndoing                       // it is being launched, but the start was given up
	engineStopping                      // it is being ended
	engineEnded                         // nothing is left of it
)

// A contextPhase is where the instance's own context is. While an operation is under way,
// nothing else is done to the context.
type contextPhase int

const (
	contextForeign     contextPhase = iota // the user's: nothing is ever done to it
	contextNone                            // not made yet
	contextMaking                          // operation
	contextMade                            // there, or it can't be; not promoted yet
	contextPromoting                       // operation
	contextDecided                         // promoted, or not for a reason
	contextClaiming                        // operation: the default socket is led to the engine
	contextHandingBack                     // operation: another becomes the current one
	contextHandedBack                      // there, and not to be current
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
	connected     struct{ err error } // the wait for its API is over
	exited        struct{}            // its process has ended
	troubled      struct{}            // other things do not work of it than before
	retryDue      struct{}            // the delay before another launch is over
	mirrored      struct{ mirror.Update }
	pinged        struct{ err error }     // the check of a lost engine is over
	socketTouched struct{}                // somebody may have removed its socket
	endpointNew   struct{ host string }   // the user has led its context elsewhere
	graceKnown    struct{ time.Duration } // how long it has to stop its containers
	ended         struct {                // it was stopped, and what was left of it removed
		killed []string // ids of containers
		err    error
	}

	// Of the context.
	judged         struct{ dockercontext.Judgement } // the current context was probed
	contextCreated struct{ dockercontext.Outcome }
	promoted       struct{ dockercontext.Outcome }
	reconsidered   struct{ dockercontext.Outcome } // what it replaced was looked at for a while
	claimed        struct{ dockercontext.Outcome }
	claimSeen      struct{ dockercontext.Outcome } // somebody may have taken the default socket
	handedBack     struct{ context, socket dockercontext.Outcome }
	contextRemoved struct{ dockercontext.Outcome }
	contextSeen    struct{ ready, promoted, claimed, mended dockercontext.Outcome } // somebody may have changed it

	// Of people and files.
	signalled    struct{ os.Signal }
	requested    struct{ requests.Request }
	stopAsked    struct{ requests.StopOptions }
	answered     struct{ requests.Result } // a call that a request has caused is over
	stateTouched struct{}                  // somebody may have changed the state file, or removed everything
)

// handle says what an event does in each phase.
func (l *loop) handle(ev event) {
	e, c := &l.engine, &l.context
	switch ev := ev.(type) {
	case launched:
		switch {
		case e.phase == engineStopping: // it had to be known what to stop
			l.endEngine(ev.running)
		case e.phase == engineUndoing && ev.adopted && ev.err == nil:
			e.running = ev.running
			l.letGo()
		case e.phase == engineUndoing:
			e.phase, e.running = engineConnecting, ev.running
			l.shutDown(stopRun{})
		case ev.err != nil:
			l.engineFailed(ev.err.Error())
		default:
			l.connect(ev.running, ev.adopted)
		}

	case connected:
		if ev.err != nil {
			l.engineFailed(fmt.Sprintf("no connection to the engine: %v", ev.err))
			return
		}
		l.engineAnswers()
		l.mirrorEngine()
		l.watchEngineSocket()

	case exited:
		e.exited = nil
		if e.phase != engineStopping { // where it is expected
			l.engineFailed(lastWords(e.process))
		}

	case troubled:
		e.troubled = nil
		if e.process != nil {
			e.problems, e.troubled = e.process.Problems()
		}

	case socketTouched:
		if e.phase == engineUp || e.phase == engineLost || e.phase == engineAway {
			l.checkEngine()
		}

	case retryDue:
		if e.phase == engineDown {
			l.launch()
		}

	case mirrored:
		l.applyUpdate(ev.Update)
		switch s := ev.Sync; {
		case s == nil:
		case s.Connected && (e.phase == engineLost || e.phase == engineAway):
			l.engineAnswers()
		case s.Reason == mirrorLost && (e.phase == engineUp || e.phase == engineLost || e.phase == engineAway):
			l.checkEngine()
		}

	case pinged:
		e.pinging = false
		switch {
		case e.phase != engineLost && e.phase != engineAway:
		case ev.err != nil:
			l.engineMissing(ev.err)
		case l.mirror.synced.Reason != mirrorLost:
			l.engineAnswers()
		}

	case endpointNew:
		switch e.phase {
		case engineConnecting, engineUp, engineLost, engineAway:
			l.releaseEngine()
			l.disconnect("the engine is looked for where its context leads now")
			l.launch()
		}

	case graceKnown:
		l.stop.grace = ev.Duration

	case ended:
		e.phase, e.running, e.exited = engineEnded, nil, nil
		l.stop.killed, l.stop.err = l.containerNames(ev.killed), ev.err

	case judged:
		c.judgement = &ev.Judgement

	case contextCreated:
		c.phase, c.ready = contextMade, ev.Outcome
		if ev.Reason == dockercontext.ReasonCreated {
			l.watchContext()
		}

	case promoted:
		c.phase, c.promoted = contextDecided, ev.Outcome

		if ev.Reason == dockercontext.ReasonPromoted {
			l.reconsider()
		}

	case claimed:
		l.logFailure("default socket not claimed", ev.Outcome)
		c.phase, c.claimed = contextDecided, ev.Outcome
		if ev.Reason == dockercontext.ReasonClaimed {
			l.watchSocket()
		}

	case claimSeen:
		if c.phase == contextDecided && c.claimed.Reason == dockercontext.ReasonClaimed {
			c.claimed = ev.Outcome
		}

	case reconsidered:
		l.logFailure("replaced context not put back", ev.Outcome)
		if ev.Changed && c.phase == contextDecided {
			c.promoted = ev.Outcome
		}

	case handedBack:
		l.logFailure("current context not handed back", ev.context)
		c.phase, c.promoted, c.claimed = contextHandedBack, ev.context, ev.socket

	case contextRemoved:
		l.logFailure("context not removed", ev.Outcome)
		c.phase, c.ready = contextGone, ev.Outcome

	case contextSeen:
		l.logFailure("current context not looked after", ev.mended)
		if l.stop == nil {
			c.see(ev)
		}

	case stopAsked:
		switch {
		case l.stop != nil:
			l.stop.join(ev.StopOptions)
		case ev.Undo && e.phase == engineLaunching: // is there an engine that goes on?
			e.phase = engineUndoing
			e.giveUp()
		case ev.Undo && e.adopted:
			l.letGo()
		default:
			l.shutDown(stopRun{StopOptions: ev.StopOptions})
		}

	case signalled: // a second Ctrl-C is impatient
		if l.stop == nil || ev.Signal == os.Interrupt {
			l.handle(stopAsked{requests.StopOptions{Force: l.stop != nil}})
		}

	case requested:
		switch {
		case ev.Type == requests.RequestStop:
			l.takeStop(ev.Request)
		case l.stop != nil: // it is dropped
		case l.mirror.executor == nil:
			l.early = append(l.early, ev.Request)
		default:
			l.mirror.executor.Accept(ev.Request)
		}

	case answered:
		l.mirror.executor.Receive(ev.Result)

	case stateTouched:
		if l.removed() {
			l.orphaned()
		} else {
			l.store.Check()
		}
	}
}

// advance begins what the phases call for, now that an event was handled: the context
// follows the engine, and when nothing is left to be stopped, the loop ends.
func (l *loop) advance() {
	e, c := &l.engine, &l.context
	l.usable.Store(l.promotable()) // before anything is handed back: promotions look at it
	if l.done {
		return
	}
	if c.busy() {
		return // the end of the operation is an event
	}
	if c.missed {
		c.missed = false
		l.beside(l.ctx, l.lookAtContext)
	}
	keep := c.phase == contextForeign || l.stop != nil && l.stop.Keep
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
	case c.phase == contextHandedBack: // the engine is there again
		c.phase, c.judgement = contextMade, nil
		l.judgeCurrent()
	case c.phase == contextMade && c.judgement != nil:
		l.promote()
	case c.phase == contextDecided && c.isCurrent() && c.claimed.Reason == "":
		l.claim()
	}
}

// promotable reports whether a context may be led to the engine. One that has crashed and is
// started again still counts.
func (l *loop) promotable() bool {
	switch l.engine.phase {
	case engineAway, engineLooping, engineUndoing, engineStopping, engineEnded:
		return false
	}
	return l.engine.answered && l.stop == nil
}
