package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/version"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/supervisor/wire"
)

// loop is the one goroutine that decides and writes. Everything in it belongs to
// that goroutine, except what is marked otherwise.
//
// Its life: launch → engine runs → (exits → launch again)… → stop → done.
type loop struct {
	inst   *instance.Instance
	driver engine.Driver
	docker *dockercontext.Config
	store  *mirror.Store
	log    *slog.Logger
	self   process.ID

	inbox   chan message
	workers sync.WaitGroup
	ctx     context.Context // ends when the loop does
	end     context.CancelFunc

	engine  engineRun
	context contextRun
	mirror  mirrorRun

	// removed tells whether somebody has removed the instance's files. Whoever makes the
	// instance anew takes another lock.
	removed        func() bool
	announced      bool      // that the instance is ready has reached the file
	unwrittenSince time.Time // zero while the state can be written
	writeless      bool      // the state has no place any more

	stopping *stopRun // nil until told to stop
	done     bool
	err      error // why it failed, when done

	// usable tells whether the engine may be promoted to. Read by promotions, under
	// the promotion lock.
	usable atomic.Bool
}

// A message says that work beside the loop is done, and what the loop is to do then.
type message struct {
	cause context.Context // what it was done for
	then  func()
}

func newLoop(inst *instance.Instance, driver engine.Driver, log *slog.Logger) (*loop, error) {
	self, err := process.Self()
	if err != nil {
		return nil, err
	}
	store, err := openStore(inst, driver, log)
	if err != nil {
		return nil, err
	}
	l := &loop{
		inst:   inst,
		driver: driver,
		store:  store,
		log:    log,
		self:   self,
		inbox:  make(chan message),
		engine: engineRun{firstDelay: firstDelay, lostAfter: lostAfter},

		removed: lock.Gone(inst.Paths.SupervisorLock()),
	}
	if l.docker, err = contexts.ConfigWhile(inst, l.usable.Load); err != nil {
		return nil, err
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l, nil
}

// newLoopFor is newLoop with the driver for the instance's settings.
func newLoopFor(inst *instance.Instance, log *slog.Logger) (*loop, error) {
	driver, err := engine.DriverFor(inst, log.With("part", "engine"))
	if err != nil {
		return nil, err
	}
	return newLoop(inst, driver, log)
}

// openStore opens the instance's state for writing. The caller holds the supervisor lock.
func openStore(inst *instance.Instance, driver engine.Driver, log *slog.Logger) (*mirror.Store, error) {
	host := ""
	if ep, err := driver.Endpoint(); err == nil {
		host = ep.Host
	}
	store, err := mirror.OpenStore(inst.Paths.StateFile(), inst.Paths.StateLock(), inst.Describe(host), log.With("part", "mirror"))
	if err != nil {
		return nil, fmt.Errorf("state of instance %q: %w", inst.Name, err)
	}
	return store, nil
}

// run calls begin and then runs the loop, until a signal has made it stop the
// engine, or until it fails. A further signal may ask for a stop by force. It returns when
// every goroutine that it started has ended.
func (l *loop) run(signals <-chan os.Signal, begin func()) error {
	l.store.SetSupervisor(&state.Supervisor{
		PID: l.self.PID, StartTicks: l.self.StartTime, BootID: l.self.BootID,
		StartedAt: l.self.StartedAt(), Version: version.Version(),
	})
	// What an earlier supervisor wrote of the mirror does not hold any more.
	l.store.Disconnect("the engine is not connected yet")
	begin()
	l.watchState()
	flush := time.NewTimer(0)
	for !l.done {
		select {
		case <-signals:
			l.stop(wire.ReadStopRequest(l.inst, l.self))
		case m := <-l.inbox:
			if m.cause.Err() == nil {
				m.then()
			}
		case u := <-l.mirror.updates:
			l.updated(u)
		case r := <-l.mirror.requests:
			l.mirror.executor.Accept(r)
		case r := <-l.mirror.results:
			l.mirror.executor.Receive(r)
		case <-l.engine.exited:
			l.engineExited()
		case <-flush.C:
		}
		l.judgeReady()
		wait, dirty := l.store.NextFlush()
		if dirty && wait <= 0 {
			l.flush()
			wait, dirty = l.store.NextFlush()
		}
		if dirty && !l.writeless { // not yet, or not written
			flush.Reset(wait)
		}
	}
	l.end()
	l.workers.Wait()
	if err := l.store.Close(); err != nil {
		l.log.Warn("state is left with its spare", "error", err)
	}
	return l.err
}

// watchState writes the state file anew when somebody has removed or damaged it. Followers
// would have to wait for the next change otherwise, which may be a long time off.
func (l *loop) watchState() {
	watch, err := dirwatch.New(l.inst.Paths.State)
	if err != nil {
		l.log.Warn("state is not watched", "error", err)
		return
	}
	context.AfterFunc(l.ctx, watch.Close)
	l.awaitState(watch)
}

func (l *loop) awaitState(watch *dirwatch.Watcher) {
	l.beside(l.ctx, func(ctx context.Context) func() {
		if watch.Wait(ctx) != nil {
			return func() {}
		}
		return func() {
			if l.removed() {
				l.orphaned()
				return
			}
			l.store.Check()
			l.awaitState(watch)
		}
	})
}

// orphaned ends an instance that nobody can reach any more. Where the engine's data is gone
// too, there is nothing for the engine to save, so it is ended by force.
func (l *loop) orphaned() {
	l.log.Error("supervisor ends", "error", errRemoved)
	l.writeless = true
	_, err := os.Stat(l.inst.Paths.Data)
	l.stop(wire.StopOptions{Force: errors.Is(err, fs.ErrNotExist)})
}

var errRemoved = errors.New("the instance's files were removed")

// beside does work in a goroutine of its own, with cause as its context, and then, in the
// loop, what work returned, unless cause has ended by then.
func (l *loop) beside(cause context.Context, work func(ctx context.Context) (then func())) {
	l.workers.Go(func() {
		then := work(cause)
		select {
		case l.inbox <- message{cause, then}:
		case <-l.ctx.Done():
		}
	})
}

// after does something in the loop once the time has passed, unless cause has ended.
func (l *loop) after(cause context.Context, wait time.Duration, then func()) {
	l.beside(cause, func(ctx context.Context) func() {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		return then
	})
}

func (l *loop) set(typ string, status state.Status, reason, message string) {
	was, _ := l.store.Condition(typ)
	if was.Status != status || was.Reason != reason {
		level := slog.LevelInfo
		if status == state.False && (reason == state.ReasonCrashLoop || reason == state.ReasonExited || reason == state.ReasonFailed) {
			level = slog.LevelError
		}
		l.log.Log(context.Background(), level, "condition", "type", typ, "status", status, "reason", reason, "message", message)
	}
	l.store.SetCondition(typ, status, reason, message)
}

// settled tells whether a condition is as a start waits for it to be.
func settled(c state.Condition) bool {
	switch c.Type {
	case state.ContextReady, state.ContextPromoted:
		return c.Status != state.Unknown
	}
	return c.Status == state.True
}

// readyNeeds are the conditions that Ready is derived from, in the order in which they
// come about.
var readyNeeds = []string{state.EngineReady, state.ContextReady, state.ContextPromoted, state.MirrorSynced}

// judgeReady derives Ready from the other conditions.
func (l *loop) judgeReady() {
	if l.stopping != nil {
		return
	}
	for _, typ := range readyNeeds {
		if c, ok := l.store.Condition(typ); !ok || !settled(c) {
			l.store.SetCondition(state.Ready, state.False, c.Reason, c.Message)
			return
		}
	}
	l.store.SetCondition(state.Ready, state.True, state.Ready, "")
}

// flushTimeout bounds waiting for the state lock, which others hold for moments.
const flushTimeout = time.Second

func (l *loop) flush() {
	if l.writeless {
		return // what there is by now is another instance's
	}
	ctx, cancel := context.WithTimeout(l.ctx, flushTimeout)
	defer cancel()
	if err := l.store.Flush(ctx); err != nil {
		l.log.Error("state not written", "error", err) // it is tried again
		l.unwritten(err)
		return
	}
	l.unwrittenSince = time.Time{}
	if c, _ := l.store.Condition(state.Ready); c.Status == state.True {
		l.announced = true
	}
	if l.mirror.executor != nil && l.stopping == nil {
		l.mirror.executor.Settle()
	}
}

// unwrittenPatience is how long the state of a start may remain unwritten.
const unwrittenPatience = time.Second

// unwritten is called when the state could not be written, for err. A start is given up after
// a while: nobody can learn how it went. An engine that ran before it goes on, without a
// supervisor.
func (l *loop) unwritten(err error) {
	if l.announced || l.stopping != nil || errors.Is(err, lock.ErrHeld) {
		return
	}
	if l.unwrittenSince.IsZero() {
		l.unwrittenSince = time.Now()
	}
	switch {
	case time.Since(l.unwrittenSince) < unwrittenPatience:
	case l.engine.adopted:
		l.done, l.err = true, err
	default:
		l.abandon(err)
	}
}

// finish ends the loop. The last state must reach the file: commands conclude from it
// why the supervisor is gone.
func (l *loop) finish(err error) {
	l.done, l.err = true, err
	l.flush()
}
