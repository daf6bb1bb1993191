package supervisor

import (
	"context"
	"errors"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// defaultGrace is how long an engine may take to stop its containers before it is ended by
// force, where nobody said. dockerd itself gives them 15 s.
const defaultGrace = 45 * time.Second

// stopRun is a stop under way: the engine ends and the current context is handed back
// beside each other, and when both are done, the rest follows.
type stopRun struct {
	wire.StopOptions
	endGrace   context.CancelFunc // ends the time that the engine has to stop by itself; nil before that has begun
	failure    error              // why the supervisor gives up; nil when it was told to stop
	engineGone bool
	handedBack bool
	err        error // what of the stop failed
}

// stop begins to end the instance as the options say. All that they can change of a stop
// that is under way is to force it.
func (l *loop) stop(o wire.StopOptions) {
	s := l.stopping
	switch e := &l.engine; {
	case s == nil && o.Undo && e.launching: // whether there is an engine that goes on is not known yet
		e.undo = true
		e.giveUp()
		return
	case s == nil && o.Undo && e.adopted:
		l.letGo()
		return
	case s == nil:
		l.shutDown(&stopRun{StopOptions: o})
		return
	}
	s.Force = s.Force || o.Force
	if s.Force && s.endGrace != nil {
		s.endGrace()
	}
}

// letGo ends the supervisor of an engine that was there before it, which goes on. The
// state goes on naming this supervisor: there is something to stop.
func (l *loop) letGo() {
	l.store.Disconnect("the start that found the engine running was given up")
	l.finish(nil)
}

// abandon ends the instance because its engine could not be started. The condition
// EngineReady says why, too, and stays.
func (l *loop) abandon(why error) { l.shutDown(&stopRun{failure: why}) }

func (l *loop) shutDown(s *stopRun) {
	if l.stopping != nil {
		return
	}
	l.stopping = s
	l.usable.Store(false)
	if s.failure == nil {
		l.setStopping()
	}
	l.store.SetCondition(state.Ready, state.False, state.ReasonStopped, "")
	if l.engine.end != nil {
		l.engine.end()
	}
	l.endMirror()
	l.store.Disconnect("the engine is being stopped")
	if l.engine.launching {
		l.engine.giveUp()
	} else {
		l.stopEngine()
	}
	if s.Keep {
		s.handedBack = true
		return
	}
	l.handBack(func() {
		s.handedBack = true
		l.stopped()
	})
}

func (l *loop) setStopping() {
	l.set(state.EngineReady, state.False, state.ReasonStopped, "the engine is being stopped")
}

// stopEngine ends the engine, and whatever else there is of it.
func (l *loop) stopEngine() {
	running, grace := l.engine.running, defaultGrace
	if l.stopping.Force {
		grace = 0
	}
	graceful, cancel := context.WithTimeout(l.ctx, grace)
	l.stopping.endGrace = cancel
	l.beside(l.ctx, func(ctx context.Context) func() {
		defer cancel()
		if running != nil {
			if err := running.Stop(graceful); err != nil {
				l.log.WarnContext(ctx, "engine not stopped", "part", "engine", "error", err)
			}
		}
		err := l.driver.Cleanup(ctx) // it also ends what was not stopped: its error is the one that counts
		return func() {
			l.stopping.engineGone = true
			l.stopping.err = errors.Join(l.stopping.err, err)
			l.engine.running, l.engine.exited = nil, nil
			l.stopped()
		}
	})
}

// stopped goes on with a stop when a part of it is done: the context goes when it is
// not current any more and its engine is gone, then the objects, then the supervisor.
func (l *loop) stopped() {
	s := l.stopping
	if !s.engineGone || !s.handedBack || l.context.making {
		return
	}
	owner := contexts.Owner(l.inst)
	if s.Keep || owner.Context == "" {
		l.last()
		return
	}
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
		defer cancel()
		out := l.removeContext(ctx, owner)
		return func() {
			if out.Err != nil {
				l.log.Error("context not removed", "part", "context", "error", out.Err)
			}
			status, reason := state.False, out.Reason
			if reason == dockercontext.ReasonAlreadyCurrent { // the user's choice: it stays
				status, reason = state.True, state.ReasonCreated
			}
			l.set(state.ContextReady, status, reason, out.Message)
			l.last()
		}
	})
}

// removeContext removes the context, which stays if the user has made it current.
func (l *loop) removeContext(ctx context.Context, owner dockercontext.Owner) dockercontext.Outcome {
	for {
		out := l.docker.Remove(ctx, owner)
		if out.Reason != dockercontext.ReasonAlreadyCurrent {
			return out
		}
		// Another instance that stopped at the same time may have handed over to this one,
		// which seemed to run.
		if !l.docker.Demote(ctx, owner).Changed {
			return out
		}
	}
}

// last writes the last state and ends the loop.
func (l *loop) last() {
	s := l.stopping
	l.store.Clear()
	l.store.SetEngineProcess(0, time.Time{})
	if s.failure == nil && s.err == nil {
		// This is what says that nothing is left to stop, see isStopped.
		l.store.SetSupervisor(nil)
	}
	l.store.Disconnect("the engine is stopped")
	switch {
	case s.err != nil:
		l.set(state.EngineReady, state.False, state.ReasonFailed, s.err.Error())
	case s.failure == nil:
		l.set(state.EngineReady, state.False, state.ReasonStopped, "")
	}
	err := s.failure
	if s.err != nil && (err == nil || err.Error() != s.err.Error()) { // the two are often the same
		err = errors.Join(err, s.err)
	}
	l.finish(err)
}

// adoptToStop takes over an engine without a supervisor, only to stop it.
func (l *loop) adoptToStop(o wire.StopOptions) {
	l.setStopping()
	l.engine.launching, l.engine.giveUp = true, func() {} // that is not given up: it must end
	l.beside(l.ctx, func(ctx context.Context) func() {
		running, err := l.driver.Adopt(ctx)
		return func() {
			if err != nil {
				l.log.Error("engine not adopted", "part", "engine", "error", err) // Cleanup ends it by force
			}
			l.engine.launching = false
			l.engine.running = running
			l.stop(o)
		}
	})
}
