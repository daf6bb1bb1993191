package supervisor

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/docker-rd/docker-rd/requests"
)

// loop is the one goroutine that decides and writes. Everything in it belongs to that
// goroutine, except what is marked otherwise.
type loop struct {
	inst   *instance.Instance
	driver engine.Driver
	docker *dockercontext.Config
	store  *mirror.Store
	log    *slog.Logger
	self   process.ID

	events  chan message
	workers sync.WaitGroup
	ctx     context.Context // ends when the loop does
	end     context.CancelFunc

	engine  engineRun
	context contextRun
	mirror  mirrorRun
	stop    *stopRun // nil until told to stop

	inbox  <-chan requests.Request
	early  []requests.Request // which came before there is a mirror
	askers []requests.Request // who has asked for the stop

	notify notifier

	// removed reports whether somebody has removed the instance's files. A new
	// instance of that name has another lock.
	removed        func() bool
	published      map[string]state.Condition
	announced      bool      // that the instance is ready has reached the file
	unwrittenSince time.Time // zero while the state can be written
	writeless      bool      // the directory of the state is gone

	done bool
	err  error // why it failed, when done

	// usable reports whether the engine may be promoted to. Read by promotions, under
	// the promotion lock.
	usable atomic.Bool
}

// A message brings an event, unless its cause has ended by then.
type message struct {
	cause context.Context
	event event
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
		events: make(chan message),

		engine:    engineRun{firstDelay: firstDelay, lostAfter: lostAfter},
		removed:   lock.Gone(inst.Paths.SupervisorLock()),
		published: map[string]state.Condition{},
	}
	if l.context.owner = contexts.Owner(inst); l.context.owner.Context != "" {
		l.context.phase = contextNone
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

// run starts the engine, or, where toStop is not nil, only stops it as that says. It returns
// when the instance was stopped, or has failed, and every goroutine that it started has
// ended. Signals ask for a stop.
func (l *loop) run(signals <-chan os.Signal, toStop *requests.StopOptions) error {
	l.store.SetSupervisor(&state.Supervisor{
		PID: l.self.PID, StartTicks: l.self.StartTime, BootID: l.self.BootID,
		StartedAt: l.self.StartedAt(), Version: version.Version(),
	})
	// What an earlier supervisor wrote of the mirror is out of date.
	l.disconnect("the engine is not connected yet")
	l.watchState()
	l.watchRequests()
	if toStop != nil {
		l.stop, l.engine.phase = &stopRun{StopOptions: *toStop}, engineStopping
		l.adoptToStop()
	} else {
		l.followEndpoint()
		l.judgeCurrent() // while the engine starts
		l.launch()
	}
	flush := time.NewTimer(0)
	defer flush.Stop()
	for !l.done {
		if ev := l.next(signals, flush.C); ev != nil {
			l.handle(ev)
		}
		l.advance()
		l.publish()
		l.flushWhenDue(flush)
	}
	l.end()
	l.endMirror()
	l.releaseEngine() // of an engine that goes on
	l.workers.Wait()
	return l.err
}

// next waits for the next event. It returns nil where there is none: the state is to be
// written, or the cause of what has happened has ended.
func (l *loop) next(signals <-chan os.Signal, flush <-chan time.Time) event {
	select {
	case s := <-signals:
		return signalled{s}
	case m := <-l.events:
		if m.cause.Err() != nil {
			return nil
		}
		return m.event
	case u := <-l.mirror.updates:
		return mirrored{u}
	case r := <-l.inbox:
		return requested{r}
	case r := <-l.mirror.results:
		return answered{r}
	case <-l.engine.exited:
		return exited{}
	case <-l.engine.troubled:
		return troubled{}
	case <-flush:
		return nil
	}
}

// watchState has the state file written anew when somebody has removed or damaged it.
// Followers would have to wait for the next change otherwise, which may be a long time off.
func (l *loop) watchState() {
	watch, err := dirwatch.New(l.inst.Paths.State)
	if err != nil {
		l.log.Warn("state is not watched", "error", err)
		return
	}
	l.stream(func(ctx context.Context, send func(event)) {
		defer watch.Close()
		for watch.Wait(ctx) == nil {
			send(stateTouched{})
		}
	})
}

// watchRequests has the requests of the instance brought, until the loop ends.
func (l *loop) watchRequests() {
	inbox := requests.NewInbox(l.inst.Paths.RequestsDir(), l.log.With("part", "requests"))
	l.inbox = inbox.Requests()
	l.workers.Go(func() { _ = inbox.Run(l.ctx) })
}

// beside does work in a goroutine of its own, with cause as its context. The event that it
// returns is handled unless cause has ended by then.
func (l *loop) beside(cause context.Context, work func(ctx context.Context) event) {
	l.workers.Go(func() { l.send(cause, work(cause)) })
}

// stream does work that sends any number of events until the loop ends.
func (l *loop) stream(work func(ctx context.Context, send func(event))) {
	l.workers.Go(func() { work(l.ctx, func(ev event) { l.send(l.ctx, ev) }) })
}

// after brings an event once the time has passed, unless cause has ended.
func (l *loop) after(cause context.Context, wait time.Duration, ev event) {
	l.beside(cause, func(ctx context.Context) event {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		return ev
	})
}

func (l *loop) send(cause context.Context, ev event) {
	select {
	case l.events <- message{cause, ev}:
	case <-l.ctx.Done():
	}
}

// flushWhenDue writes the state if it is time to, and sets the timer for the next write.
func (l *loop) flushWhenDue(timer *time.Timer) {
	wait, dirty := l.store.NextFlush()
	if dirty && wait <= 0 {
		l.flush()
		wait, dirty = l.store.NextFlush()
	}
	if dirty && !l.writeless { // not yet, or not written
		timer.Reset(wait)
	}
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
	if l.published[state.Ready].Status == state.True && !l.announced {
		l.announced = true
		l.notify.tell("READY=1")
	}
	if l.mirror.executor != nil && l.stop == nil {
		l.mirror.executor.Flushed()
	}
}

// unwrittenPatience is how long the state of a start may remain unwritten.
const unwrittenPatience = time.Second

// unwritten is called when the state could not be written, for err. A start is given up after
// a while: nobody can learn how it went. An engine that ran before it goes on, without a
// supervisor.
func (l *loop) unwritten(err error) {
	if l.announced || l.stop != nil || errors.Is(err, lock.ErrHeld) {
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
		l.engine.reason, l.engine.words = state.ReasonFailed, err.Error()
		l.shutDown(stopRun{failure: err})
	}
}
