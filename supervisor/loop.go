package supervisor

import (
	"context"
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
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/version"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// loop is the one goroutine that decides and writes. Its fields belong to that goroutine,
// unless they say otherwise.
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

	early        []requests.Request // those that came before the mirror began
	stopRequests []requests.Request // the requests to stop

	notify notifier

	// removed reports whether somebody has removed the instance's files. A new
	// instance of that name has another lock.
	removed   func() bool
	published map[string]state.Condition
	file      fileRun

	done bool
	err  error // why it failed, when done

	// usable reports whether the context may be promoted. Other goroutines read it, under
	// the promotion lock.
	usable atomic.Bool
}

// A message is an event that is dropped if its cause has ended before it is handled.
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

		engine:    engineRun{firstDelay: firstDelay, lostAfter: lostAfter, pingTimeout: pingTimeout},
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

// run starts the engine; if toStop is not nil, it only stops it, with those options. It
// returns when the instance was stopped or has failed, after all its goroutines. Signals ask
// for a stop.
func (l *loop) run(signals <-chan os.Signal, toStop *requests.StopOptions) error {
	l.store.SetSupervisor(&state.Supervisor{
		PID: l.self.PID, StartTicks: l.self.StartTime, BootID: l.self.BootID,
		StartedAt: l.self.StartedAt(), Version: version.Version(),
	})
	// What an earlier supervisor wrote is out of date.
	l.disconnect("the engine is not connected yet")
	l.watchState()
	l.watchRequests()
	if toStop != nil {
		l.stop, l.engine.phase = &stopRun{StopOptions: *toStop}, engineStopping
		l.dropRequests()
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

// next waits for the next event. It returns nil when it is only time to write the state, or
// when an event was dropped.
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
	case r := <-l.mirror.results:
		return answered{r}
	case <-l.engine.exited:
		return exited{}
	case <-l.engine.problemsChanged:
		return problemsChanged{}
	case <-flush:
		return nil
	}
}

// watchRequests takes in the instance's requests until the loop ends.
func (l *loop) watchRequests() {
	accept := func(r requests.Request) { l.send(l.ctx, requested{r}) }
	l.workers.Go(func() {
		_ = requests.Follow(l.ctx, l.inst.Paths.RequestsDir(), l.log.With("part", "requests"), accept)
	})
}

// lookInterval is how often directories are polled that can't be watched: one does not exist, or the
// system's watches are used up.
const lookInterval = 30 * time.Second

// watch calls look after each change in the directories, until cause ends or look returns false. What
// look sends is dropped if cause has ended by then.
func (l *loop) watch(cause context.Context, what string, dirs func() []string, look func(send func(event)) (more bool)) {
	changes := dirwatch.FollowAll(dirs, lookInterval, func(why error) {
		l.log.Warn(what+" can't be watched, and is looked at now and then", "error", why)
	})
	l.workers.Go(func() {
		defer changes.Close()
		for changes.Wait(cause) == nil && look(func(ev event) { l.send(cause, ev) }) {
		}
	})
}

// async does work in a goroutine of its own, with cause as its context. The event that it
// returns is dropped if cause has ended by then.
func (l *loop) async(cause context.Context, work func(ctx context.Context) event) {
	l.workers.Go(func() { l.send(cause, work(cause)) })
}

// after sends an event once the time has passed, unless cause has ended.
func (l *loop) after(cause context.Context, wait time.Duration, ev event) {
	l.async(cause, func(ctx context.Context) event {
		_ = pause.For(ctx, wait)
		return ev
	})
}

func (l *loop) send(cause context.Context, ev event) {
	select {
	case l.events <- message{cause, ev}:
	case <-l.ctx.Done():
	}
}
