package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/docker-rd/docker-rd/engine"
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
	failure  error              // why the supervisor gives up; nil when it was told to stop
	endGrace context.CancelFunc // ends the time that the engine has to stop by itself; nil before that has begun
	err      error              // what of the stop failed
}

// join adds another request to a stop that is under way. It can only take time from it, or
// make it leave less behind.
func (s *stopRun) join(o wire.StopOptions) {
	s.Force, s.Keep = s.Force || o.Force, s.Keep && o.Keep
	if s.Force && s.endGrace != nil {
		s.endGrace()
	}
}

// letGo ends the supervisor of an engine that was there before it, which goes on. The
// state goes on naming this supervisor: there is something to stop.
func (l *loop) letGo() {
	l.disconnect("the start that found the engine running was given up")
	l.finish(nil)
}

// shutDown begins to end the instance.
func (l *loop) shutDown(s stopRun) {
	if l.stop != nil {
		return
	}
	e := &l.engine
	l.stop = &s
	if e.end != nil {
		e.end()
	}
	l.endMirror()
	l.dropRequests()
	l.disconnect("the engine is being stopped")
	launching := e.phase == engineLaunching || e.phase == engineUndoing
	e.phase = engineStopping
	if launching {
		e.giveUp() // what it has launched by then is stopped
	} else {
		l.endEngine(e.running)
	}
}

// endEngine ends the engine, which may be nil, and whatever else there is of it.
func (l *loop) endEngine(running engine.Running) {
	grace := defaultGrace
	if l.stop.Force {
		grace = 0
	}
	graceful, cancel := context.WithTimeout(l.ctx, grace)
	l.stop.endGrace = cancel
	l.beside(l.ctx, func(ctx context.Context) event {
		defer cancel()
		if running != nil {
			if err := running.Stop(graceful); err != nil {
				l.log.WarnContext(ctx, "engine not stopped", "part", "engine", "error", err)
			}
		}
		return ended{l.driver.Cleanup(ctx)} // it also ends what was not stopped: its error is the one that counts
	})
}

// orphaned ends an instance that nobody can reach any more. Where the engine's data is gone
// too, there is nothing for the engine to save, so it is ended by force.
func (l *loop) orphaned() {
	l.log.Error("supervisor ends", "error", errRemoved)
	l.writeless = true
	_, err := os.Stat(l.inst.Paths.Data)
	l.handle(stopAsked{wire.StopOptions{Force: errors.Is(err, fs.ErrNotExist)}})
}

var errRemoved = errors.New("the instance's files were removed")

// last writes the last state and ends the loop.
func (l *loop) last() {
	s := l.stop
	l.store.Clear()
	l.store.SetEngineProcess(0, time.Time{})
	if s.failure == nil && s.err == nil {
		// This is what says that nothing is left to stop.
		l.store.SetSupervisor(nil)
		l.store.SetLastFailure(nil)
	}
	if s.err != nil {
		l.store.SetLastFailure(&state.Failure{Reason: state.ReasonFailed, Message: s.err.Error(), Time: time.Now()})
	}
	l.disconnect("the engine is stopped")
	err := s.failure
	if s.err != nil && (err == nil || err.Error() != s.err.Error()) { // the two are often the same
		err = errors.Join(err, s.err)
	}
	l.finish(err)
}

// finish ends the loop. The last state must reach the file: commands conclude from it
// why the supervisor is gone.
func (l *loop) finish(err error) {
	l.done, l.err = true, err
	l.publish()
	l.flush()
}
