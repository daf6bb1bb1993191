package requests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// callTimeout bounds the short calls.
	callTimeout = 30 * time.Second
	// syncTimeout bounds a requested sync.
	syncTimeout = 5 * time.Minute
	// reachDelay is the wait between attempts to reach the engine.
	reachDelay = 500 * time.Millisecond
)

// An Executor carries out requests. It belongs to the goroutine that owns the store: calls to
// the engine are async and return through Results.
//
// A submitted request is decided, even if the engine or the supervisor was down meanwhile;
// only a stop of the instance drops it. An action is sent to the engine at most once. If the
// connection breaks or the supervisor dies meanwhile, the container is inspected until it shows
// that the action was done; otherwise the outcome is unknown, and says so. A deletion may be
// sent again, but only for the object that was meant: by id, or for volumes, which have none,
// while no other volume has had the name.
type Executor struct {
	dir      string
	store    *mirror.Store
	connect  func() (mirror.Engine, error)
	source   *mirror.Source
	log      *slog.Logger
	results  chan func()
	patience time.Duration // is lookTimeout
	looking  time.Duration // is callTimeout

	ctx    context.Context
	cancel context.CancelFunc
	calls  sync.WaitGroup

	// actions are by container. The first one is in progress.
	actions   map[string][]Request
	deletions map[target]*deletion
	deleting  chan struct{} // holds a value for each deletion that the engine is asked for
	lost      bool          // the engine is not connected
	watched   bool          // the mirror is synced
	engine    string        // the id of the engine that deletions are for, "" for unknown
	// accepted are the requests that are not settled, decided those of them whose outcome is
	// not in the state file yet.
	accepted map[string]bool
	decided  []decision
}

// A decision is an outcome that is left for its asker once it is in the state file.
type decision struct {
	request Request
	outcome Outcome
	goesOn  bool // the request stays
}

// NewExecutor returns an executor for the requests of the directory. Connect returns
// a connection to the engine, which the executor closes. Close the executor.
func NewExecutor(dir string, store *mirror.Store, connect func() (mirror.Engine, error), source *mirror.Source, log *slog.Logger) *Executor {
	ctx, cancel := context.WithCancel(context.Background())
	return &Executor{
		dir: dir, store: store, connect: connect, source: source, log: log,
		results: make(chan func()), patience: lookTimeout, looking: callTimeout, ctx: ctx, cancel: cancel,
		actions: map[string][]Request{}, deletions: map[target]*deletion{},
		accepted: map[string]bool{}, engine: store.Engine().ID, deleting: make(chan struct{}, maxDeleting),
	}
}

// Close cancels all calls and waits for their end. Requests that are not decided stay in the
// directory.
func (e *Executor) Close() {
	e.cancel()
	e.calls.Wait()
}

// Results returns the channel of results of calls. The loop runs each. It is never closed.
func (e *Executor) Results() <-chan func() { return e.results }

// beside makes a call async. The loop runs what it returns.
func (e *Executor) beside(call func(ctx context.Context) (apply func())) context.CancelFunc {
	ctx, cancel := context.WithCancel(e.ctx)
	e.calls.Go(func() {
		defer cancel()
		apply := call(ctx)
		if apply == nil {
			return
		}
		select {
		case e.results <- apply:
		case <-e.ctx.Done():
		}
	})
	return cancel
}

// Accept takes a request from the inbox. It ignores one that it has, or that was settled
// meanwhile: a directory that changes while it is read may show a request twice.
func (e *Executor) Accept(r Request) {
	if e.accepted[r.ID] || !isPending(e.dir, r.ID) {
		return
	}
	e.accepted[r.ID] = true
	switch r.Type {
	case RequestAction:
		e.acceptAction(r)
	case RequestDelete:
		e.acceptDeletion(r)
	case RequestCancel:
		e.acceptCancel(r)
	case RequestSync, RequestSettle:
		e.acceptSync(r)
	default:
		e.decide(r, fmt.Errorf("unknown request %q", r.Type))
	}
}

// acceptSync decides a request when the mirror is up to date.
func (e *Executor) acceptSync(r Request) {
	e.beside(func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, syncTimeout)
		defer cancel()
		usage, err := e.sync(ctx, r)
		return func() {
			e.store.SetUsage(usage)
			e.decide(r, err)
		}
	})
}

// sync has the mirror see all that had happened before the call, or sync in full and measure what
// objects take on disk.
func (e *Executor) sync(ctx context.Context, r Request) (usage mirror.Usage, err error) {
	if r.Type == RequestSettle {
		return usage, e.source.Settle(ctx)
	}
	if err := e.source.Sync(ctx); err != nil || !r.Sizes {
		return usage, err
	}
	cli, err := e.connect()
	if err != nil {
		return usage, err
	}
	defer cli.Close()
	return mirror.Measure(ctx, cli)
}

func (e *Executor) file(id, ext string) string { return filepath.Join(e.dir, id+ext) }

func (e *Executor) decide(r Request, err error) {
	o := Outcome{ID: r.ID, State: state.ActionSucceeded}
	if err != nil {
		o.State, o.Error = state.ActionFailed, err.Error()
	}
	if errors.Is(err, mirror.ErrDisconnected) {
		o.State = OutcomeDisconnected
	}
	e.decideAs(r, o)
}

func (e *Executor) decideAs(r Request, o Outcome) {
	e.log.Info("request decided", "request", r.ID, "type", r.Type, "kind", r.Kind, "object", r.Key, "action", r.Action, "outcome", o.State, "error", o.Error)
	e.decided = append(e.decided, decision{request: r, outcome: o})
	e.store.Hurry()
	e.Flushed()
}

// Flushed settles decided requests, once their outcome is in the state file. The loop calls it
// after each flush.
func (e *Executor) Flushed() {
	if _, dirty := e.store.NextFlush(); dirty || len(e.decided) == 0 {
		return
	}
	for _, d := range e.decided {
		var err error
		if d.goesOn {
			err = answer(e.dir, d.request, d.outcome)
			d.request.Reply = false // the next supervisor must not answer again
			if pending := e.file(d.request.ID, extPending); files.Exists(pending) {
				err = errors.Join(err, files.ReplaceJSON(pending, d.request))
			}
		} else {
			err = Finish(e.dir, d.request, d.outcome)
			delete(e.accepted, d.request.ID)
		}
		if err != nil {
			e.log.Error("request can't be settled", "request", d.request.ID, "error", err)
		}
	}
	e.decided = nil
}

// Observe takes in an update of the source, after it was applied to the store, and the kinds in which
// it has changed anything.
func (e *Executor) Observe(u mirror.Update, kinds []state.Kind) {
	changed := slices.Contains(kinds, state.Containers) || slices.Contains(kinds, state.Images)
	for _, c := range u.Changes {
		for _, gone := range c.Gone {
			for t := range e.deletions {
				if t.kind == c.Kind && t.key == gone.Key {
					e.endDeletion(t, Outcome{State: state.ActionSucceeded})
				}
			}
		}
	}
	if u.Engine != nil {
		e.checkEngine()
	}
	if u.Sync != nil {
		e.lost = u.Sync.Reason == state.ReasonDisconnected
		for _, d := range e.deletions {
			e.tellLost(d)
		}
		e.watch(u.Sync.Connected && u.Sync.Status == state.True)
	}
	for t, d := range e.deletions {
		e.pin(t, d)
		e.note(t, d)
		if changed && !d.trying {
			// Many that wait must not be a storm for the engine.
			e.schedule(t, d, max(0, time.Until(d.tried.Add(max(afterChange, time.Duration(len(e.deletions))*perDeletion)))))
		}
	}
}

// checkEngine ends all deletions if the engine is another one than they were for: an image has
// the same id on both.
func (e *Executor) checkEngine() {
	id := e.store.Engine().ID
	if id == e.engine {
		return
	}
	if e.engine != "" {
		for t := range e.deletions {
			e.endDeletion(t, Outcome{State: state.ActionFailed, Error: "the engine is another one now"})
		}
	}
	e.engine = id
}

// watch notes whether the mirror is synced.
func (e *Executor) watch(now bool) {
	if now && !e.watched {
		for t, d := range e.deletions {
			if e.checkPin(t, d) && !d.trying {
				e.schedule(t, d, 0)
			}
		}
	}
	e.watched = now
}

// An engine does what requests ask for.
type engine interface {
	// Ping returns nil where the engine answers.
	Ping(ctx context.Context) error
	Close() error
	// look looks at a container, order sends an action.
	look(ctx context.Context, id string) (seen, error)
	order(ctx context.Context, id, action string) error
	// remove deletes an object, and returns whether that is gone as a whole, or only a
	// reference of an image. A volume is only deleted if it was created at pin, else it is
	// errChanged.
	remove(ctx context.Context, t target, pin time.Time) (whole bool, err error)
}

// engineOf returns what does requests at the other end of a connection.
func engineOf(e mirror.Engine) engine {
	if c, ok := e.(*mirror.Containerd); ok {
		return ctrd{c}
	}
	return moby{e.(*mirror.Moby)}
}

// reach returns an engine that answers, waiting for it until ctx ends.
func (e *Executor) reach(ctx context.Context) (engine, error) {
	for {
		conn, err := e.connect()
		if err == nil {
			it := engineOf(conn)
			if e.ping(ctx, it) == nil {
				return it, nil
			}
			_ = it.Close()
		}
		if err := pause.For(ctx, reachDelay); err != nil {
			return nil, err
		}
	}
}

func (e *Executor) ping(ctx context.Context, it engine) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer e.source.Doubting()()
	return it.Ping(ctx)
}
