package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// stopRun is a stop under way. The engine is ended and the current context is handed back at
// the same time; the rest follows.
type stopRun struct {
	requests.StopOptions
	failure  error              // why the supervisor gives up; nil when it was told to stop
	endGrace context.CancelFunc // ends the grace period; nil before it begins
	grace    time.Duration      // how long the engine has to stop by itself; 0 while it is not known
	killed   []string           // names of the containers that had to be killed
	err      error              // why the stop failed
}

// join adds another request to a stop that is under way. It can only shorten the stop, or
// make it leave less.
func (s *stopRun) join(o requests.StopOptions) {
	s.Force = s.Force || o.Force
	if s.KeepFor != (process.ID{}) {
		s.KeepFor = o.KeepFor
	}
	if s.Force && s.endGrace != nil {
		s.endGrace()
	}
}

// takeSignal takes a signal to stop. Who asks by a request sends one too, if that is not begun soon, and
// means what the request says. A second Ctrl-C is impatient.
func (l *loop) takeSignal(s os.Signal) {
	stopping := l.stop != nil
	if !l.file.gone {
		for _, r := range requests.Stops(l.inst.Paths.RequestsDir()) {
			l.takeStop(r)
		}
	}
	switch {
	case stopping && s == os.Interrupt:
		l.askStop(requests.StopOptions{Force: true})
	case !stopping && len(l.stopRequests) == 0:
		l.askStop(requests.StopOptions{})
	}
}

// takeStop takes a request to stop, if it is for this supervisor. It may have been taken with a signal.
func (l *loop) takeStop(r requests.Request) {
	dir := l.inst.Paths.RequestsDir()
	switch {
	case r.Stop == nil || r.Stop.Supervisor != l.self:
		requests.Forget(dir, r.ID)
		return
	case slices.ContainsFunc(l.stopRequests, func(taken requests.Request) bool { return taken.ID == r.ID }):
		return
	}
	if err := requests.Begin(dir, r); err != nil {
		l.log.Warn("request to stop not taken", "part", "requests", "error", err) // it is carried out nevertheless
	}
	l.stopRequests = append(l.stopRequests, r)
	l.askStop(r.Stop.StopOptions)
}

// detach ends the supervisor of an engine that ran before it; the engine goes on. The state
// still names this supervisor: there is something to stop.
func (l *loop) detach() {
	l.disconnect("the start that found the engine running was given up")
	l.finish(nil)
}

// undo takes a start back, now that its engine is known. One that ran before goes on.
func (l *loop) undo(ev launched) {
	if ev.adopted && ev.err == nil {
		l.engine.running = ev.running
		l.detach()
		return
	}
	l.shutDown(stopRun{StopOptions: l.engine.undo})
	l.endEngine(ev.running)
}

// shutDown begins to end the instance.
func (l *loop) shutDown(s stopRun) {
	if l.stop != nil {
		return
	}
	e := &l.engine
	l.stop = &s
	l.notify.send("STOPPING=1")
	if e.end != nil {
		e.end()
	}
	l.endMirror()
	l.dropRequests()
	l.disconnect("the engine is being stopped")
	launching := e.phase == engineLaunching || e.phase == engineUndoing
	e.phase = engineStopping
	if launching {
		e.cancelLaunch() // what it has launched by then is stopped later
	} else {
		l.endEngine(e.running)
	}
}

// endEngine ends the engine, if running is not nil, and whatever is left of it.
func (l *loop) endEngine(running engine.Running) {
	graceful, cancel := context.WithCancel(l.ctx)
	l.stop.endGrace = cancel
	if l.stop.Force {
		cancel()
	}
	patience := l.stop.Patience
	l.async(l.ctx, func(ctx context.Context) event {
		defer cancel()
		var end ended
		if running != nil {
			grace := max(l.containersGrace(graceful), patience)
			l.send(l.ctx, graceKnown{grace})
			timer := time.AfterFunc(grace, cancel)
			defer timer.Stop()
			var err error
			if end.killed, err = running.Stop(graceful); err != nil {
				l.log.WarnContext(ctx, "engine not stopped", "part", "engine", "error", err)
			}
		}
		// It also ends what was not stopped: its error is the one that counts.
		left, err := l.driver.Cleanup(ctx)
		end.killed, end.err = append(end.killed, left...), err
		return end
	})
}

// orphaned stops an instance whose files are gone, so that nobody can reach it. If the
// engine's data is gone too, there is nothing to save, and it is ended by force.
func (l *loop) orphaned() {
	l.log.Error("supervisor ends", "error", errRemoved)
	l.file.gone = true
	_, err := os.Stat(l.inst.Paths.Data)
	l.askStop(requests.StopOptions{Force: errors.Is(err, fs.ErrNotExist)})
}

var errRemoved = errors.New("the instance's files were removed")

// last writes the last state and ends the loop.
func (l *loop) last() {
	s := l.stop
	l.store.Clear()
	if err := l.inst.ForgetStarted(); err != nil {
		l.log.Warn("settings not forgotten", "error", err)
	}
	l.store.SetEngineProcess(0, time.Time{})
	switch {
	case s.err != nil:
		l.store.SetLastFailure(&state.Failure{Reason: state.ReasonFailed, Message: s.err.Error(), Hint: failure.Hint(s.err), Time: time.Now()})
	case s.Late != "":
		l.store.SetLastFailure(&state.Failure{Reason: state.ReasonTimedOut, Message: s.Late, Time: time.Now()})
	case s.failure == nil:
		// Without a supervisor in the state, nothing is left to stop.
		l.store.SetSupervisor(nil)
		l.store.SetLastFailure(nil)
	}
	l.disconnect("the engine is stopped")
	err := s.failure
	if s.err != nil && (err == nil || err.Error() != s.err.Error()) { // the two are often the same
		err = errors.Join(err, s.err)
	}
	l.finish(err)
}

// finish ends the loop. The last state must reach the file: it tells commands why the
// supervisor has ended.
func (l *loop) finish(err error) {
	l.done, l.err = true, err
	l.publish()
	l.flush()
	l.answerStops()
}

// answerStops leaves the outcome for the requests to stop.
func (l *loop) answerStops() {
	if l.file.gone {
		return
	}
	for _, r := range l.stopRequests {
		o := requests.Outcome{ID: r.ID, State: state.ActionSucceeded, Killed: l.killed()}
		if l.err != nil {
			o.State, o.Error = state.ActionFailed, l.err.Error()
		}
		if err := requests.Finish(l.inst.Paths.RequestsDir(), r, o); err != nil {
			l.log.Error("outcome of the stop not left", "part", "requests", "error", err)
		}
	}
}

// killed returns the names of the containers that the stop had to kill.
func (l *loop) killed() []string {
	if l.stop == nil {
		return nil
	}
	return l.stop.killed
}

// containerNames returns the names of containers; short ids where the mirror does not know
// them.
func (l *loop) containerNames(ids []string) []string {
	var names []string
	for _, id := range ids {
		name := id[:min(len(id), 12)]
		if c, ok := l.store.Container(id); ok && c.Name != "" {
			name = c.Name
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
