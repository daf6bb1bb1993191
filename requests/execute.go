package requests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// actionTimeout bounds an action, beside the time that the container has to stop.
	actionTimeout = time.Minute
	// callTimeout bounds the short calls.
	callTimeout = 30 * time.Second
	// syncTimeout bounds a requested sync.
	syncTimeout = 5 * time.Minute
	// firstRetry and maxRetry are the waits before a refused deletion is tried again
	// by itself. A change in the mirror makes it sooner, but not before afterChange.
	firstRetry  = time.Second
	maxRetry    = time.Minute
	afterChange = 200 * time.Millisecond
	// reachDelay is how long to wait before the engine is tried again.
	reachDelay = 500 * time.Millisecond
	// An action that nobody waits for any more is looked after as often, for as long,
	// beside the time that the container has to stop.
	lookDelay   = 200 * time.Millisecond
	lookTimeout = 10 * time.Second
)

// An Executor does what requests ask for. It belongs to the goroutine that owns the
// store: calls to the engine run beside it and come back on Results.
//
// What is guaranteed: a request that was submitted is decided, also if the engine or
// the supervisor was down meanwhile; only stopping the instance drops it. An action
// is sent to the engine at most once. Where the connection breaks or the supervisor
// dies while it is under way, the container is looked at until it shows that it was
// done, and if it does not, the outcome says so: it is never sent again. A deletion may
// be sent again, but only ever for the object that was meant: by id, or for volumes,
// which have none, only while no other has had the name since.
type Executor struct {
	dir      string
	store    *mirror.Store
	connect  func(context.Context) (*endpoint.Client, error)
	source   Syncer
	log      *slog.Logger
	results  chan Result
	patience time.Duration // is lookTimeout

	ctx    context.Context
	cancel context.CancelFunc
	calls  sync.WaitGroup

	// actions are by container, the first one under way.
	actions   map[string][]Request
	deletions map[target]*deletion
	watched   bool   // the mirror has missed nothing since it was last synced
	engine    string // the id of the engine that deletions are meant for, "" for unknown
	// accepted are the requests that are not settled, decided those of them whose
	// outcome is not in the file yet.
	accepted map[string]bool
	decided  []decision
}

// A Syncer keeps the mirror up to date: a [mirror.Source].
type Syncer interface {
	// Sync waits for a full sync.
	Sync(ctx context.Context) error
	// Mark has an object looked up soon.
	Mark(kind state.Kind, id string)
}

// A Result is a message of a call that has ended.
type Result struct{ apply func() }

// A deletion that is not done yet.
type deletion struct {
	requests []Request
	recorded *state.Deletion
	cancel   context.CancelFunc // of the call or the wait under way, or nil
	waits    int                // counts the waits: an older one that has ended says nothing
	trying   bool
	tried    time.Time
	wait     time.Duration
	// pin is the CreatedAt of the volume that is meant. While the mirror watches, it
	// follows the mirror: engines before 23 say when the volume was last used.
	pin    time.Time
	pinned bool
}

type decision struct {
	request Request
	outcome Outcome
}

// NewExecutor returns an executor for the requests of the directory. Connect returns
// a client for the engine, which the executor closes. Close the executor.
func NewExecutor(dir string, store *mirror.Store, connect func(context.Context) (*endpoint.Client, error), source Syncer, log *slog.Logger) *Executor {
	ctx, cancel := context.WithCancel(context.Background())
	return &Executor{
		dir: dir, store: store, connect: connect, source: source, log: log,
		results: make(chan Result), patience: lookTimeout, ctx: ctx, cancel: cancel,
		actions: map[string][]Request{}, deletions: map[target]*deletion{},
		accepted: map[string]bool{}, engine: store.Engine().ID,
	}
}

// Close cancels what is under way and waits for it. Requests that are not decided
// stay in their directory.
func (e *Executor) Close() {
	e.cancel()
	e.calls.Wait()
}

// Drop drops all requests: the instance is being stopped. Close comes first.
func (e *Executor) Drop() error { return Drop(e.dir) }

// Results returns the channel of what calls have to say. The loop passes each to
// Receive. It is never closed.
func (e *Executor) Results() <-chan Result { return e.results }

// Receive takes in a result.
func (e *Executor) Receive(r Result) { r.apply() }

// beside runs a call, and what it returns in the loop.
func (e *Executor) beside(call func(ctx context.Context) (apply func())) context.CancelFunc {
	ctx, cancel := context.WithCancel(e.ctx)
	e.calls.Go(func() {
		defer cancel()
		apply := call(ctx)
		if apply == nil {
			return
		}
		select {
		case e.results <- Result{apply}:
		case <-e.ctx.Done():
		}
	})
	return cancel
}

// Accept takes a request from the inbox. One that it has already, or that was settled
// meanwhile, is nothing new: a directory that changes while it is read may show the
// same request twice.
func (e *Executor) Accept(r Request) {
	if e.accepted[r.ID] || !exists(e.file(r.ID, extPending)) && !exists(e.file(r.ID, extBegun)) {
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
	case RequestSync:
		e.beside(func(ctx context.Context) func() {
			ctx, cancel := context.WithTimeout(ctx, syncTimeout)
			defer cancel()
			err := e.source.Sync(ctx)
			return func() { e.decide(r, err) }
		})
	default:
		e.decide(r, fmt.Errorf("unknown request %q", r.Type))
	}
}

func (e *Executor) file(id, ext string) string { return filepath.Join(e.dir, id+ext) }

// decide notes how a request ended.
func (e *Executor) decide(r Request, err error) {
	o := Outcome{ID: r.ID, State: state.ActionSucceeded}
	if err != nil {
		o.State, o.Error = state.ActionFailed, err.Error()
	}
	e.decideAs(r, o)
}

func (e *Executor) decideAs(r Request, o Outcome) {
	e.log.Info("request decided", "request", r.ID, "type", r.Type, "kind", r.Kind, "object", r.Key, "action", r.Action, "outcome", o.State, "error", o.Error)
	e.decided = append(e.decided, decision{r, o})
	e.Settle()
}

// Settle removes requests that are decided, once their outcome is in the state file.
// The loop calls it after each flush.
func (e *Executor) Settle() {
	if _, dirty := e.store.NextFlush(); dirty || len(e.decided) == 0 {
		return
	}
	for _, d := range e.decided {
		// The outcome comes first, so that the request never seems to be dropped.
		if d.request.Reply {
			if err := writeJSON(e.dir, d.outcome.ID+extDone, d.outcome); err != nil {
				e.log.Error("outcome can't be left for who waits for it", "request", d.outcome.ID, "error", err)
			}
		}
		for _, ext := range []string{extPending, extBegun} {
			if err := files.Remove(e.file(d.outcome.ID, ext)); err != nil && !errors.Is(err, os.ErrNotExist) {
				e.log.Error("request can't be removed", "request", d.outcome.ID, "error", err)
			}
		}
		delete(e.accepted, d.outcome.ID)
	}
	e.decided = nil
}

// Observe sees what the source learned, after it was applied to the store.
func (e *Executor) Observe(u mirror.Update) {
	changed := false
	for _, c := range u.Changes {
		changed = changed || c.Kind == state.Containers || c.Kind == state.Images
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
		e.watch(u.Sync.Connected && u.Sync.Status == state.True)
	}
	for t, d := range e.deletions {
		e.pin(t, d)
		e.record(t, d)
		if changed && !d.trying {
			e.schedule(t, d, max(0, time.Until(d.tried.Add(afterChange))))
		}
	}
}

// checkEngine ends all deletions where another engine has taken the place of the one they
// were meant for: an image has the same id on both.
func (e *Executor) checkEngine() {
	id := e.store.Engine().ID
	if id == e.engine {
		return
	}
	if e.engine != "" {
		for t := range e.deletions {
			e.endDeletion(t, Outcome{State: state.ActionFailed, Error: "another engine is there now"})
		}
	}
	e.engine = id
}

// watch notes whether the mirror misses nothing now.
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

// reach returns a client of an engine that answers, waiting for it until ctx ends.
func (e *Executor) reach(ctx context.Context) (*endpoint.Client, error) {
	for {
		cli, err := e.connect(ctx)
		if err == nil {
			ping, cancel := context.WithTimeout(ctx, callTimeout)
			_, err = cli.Ping(ping, client.PingOptions{NegotiateAPIVersion: true})
			cancel()
			if err == nil {
				return cli, nil
			}
			_ = cli.Close()
		}
		select {
		case <-time.After(reachDelay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// jitter returns d give or take a fifth.
func jitter(d time.Duration) time.Duration {
	spread := d / 5
	return d - spread + rand.N(2*spread+1)
}

// parseTime returns the zero time for what is no time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}

// Actions.

func (e *Executor) acceptAction(r Request) {
	if last, ok := e.store.Container(r.Key); ok && last.LastAction != nil && last.LastAction.Request == r.ID {
		// Decided by a supervisor that died before it could say so.
		e.decideAs(r, Outcome{ID: r.ID, State: last.LastAction.State, Error: last.LastAction.Error})
		return
	}
	if !slices.Contains(Actions(), r.Action) || r.Kind != state.Containers {
		e.decide(r, fmt.Errorf("there is no action %q on %s", r.Action, r.Kind))
		return
	}
	e.actions[r.Key] = append(e.actions[r.Key], r)
	if len(e.actions[r.Key]) == 1 {
		e.beginAction(r)
	}
}

func (e *Executor) beginAction(r Request) {
	e.beside(func(ctx context.Context) func() {
		err := e.act(ctx, r)
		if e.ctx.Err() != nil {
			return nil // the next supervisor finds out
		}
		return func() { e.endAction(r, err) }
	})
}

func (e *Executor) endAction(r Request, err error) {
	if errors.Is(err, errWithdrawn) {
		delete(e.accepted, r.ID)
	} else {
		last := state.LastAction{
			Request: r.ID, Action: r.Action, State: state.ActionSucceeded,
			RequestedAt: r.RequestedAt, CompletedAt: time.Now().UTC(),
		}
		if err != nil {
			last.State, last.Error = state.ActionFailed, err.Error()
		}
		e.store.SetLastAction(r.Key, &last)
		e.decide(r, err)
	}
	queue := e.actions[r.Key][1:]
	if len(queue) == 0 {
		delete(e.actions, r.Key)
		return
	}
	e.actions[r.Key] = queue
	e.beginAction(queue[0])
}

// errWithdrawn says that a request was taken back before it was begun.
var errWithdrawn = errors.New("the request was withdrawn")

// act does an action. It returns when the outcome is known.
func (e *Executor) act(ctx context.Context, r Request) error {
	cli, before, err := e.find(ctx, r.Key)
	if err != nil {
		return err
	}
	defer cli.Close()
	if r.Sent {
		if e.turnsOut(ctx, r) {
			return nil
		}
		return fmt.Errorf("the supervisor ended while it asked the engine to %s it: whether that was done is not known", r.Action)
	}
	if err := e.begin(r); err != nil {
		return err
	}
	todo, err := plan(r.Action, before.state)
	if err != nil || !todo {
		return err
	}
	// What tells afterwards whether it was done is noted before it may be.
	r.Sent, r.StartedBefore = true, before.startedAt
	if err := writeJSON(e.dir, r.ID+extBegun, r); err != nil {
		return fmt.Errorf("request %q can't be sent: %w", r.ID, err)
	}
	call, cancel := context.WithTimeout(ctx, actionTimeout+before.stopTimeout)
	defer cancel()
	err = order(call, cli, r.Key, r.Action)
	// Not all that it did has an event: a start that failed leaves its reason and an
	// exit code without one.
	e.source.Mark(state.Containers, r.Key)
	if err == nil || !ambiguous(err) {
		return err
	}
	if e.turnsOut(ctx, r) {
		return nil
	}
	return fmt.Errorf("the engine did not say how it ended: %w", endpoint.WithoutURL(err))
}

// begin takes the request from whoever could withdraw it.
func (e *Executor) begin(r Request) error {
	if r.begun {
		return nil
	}
	err := files.Rename(e.file(r.ID, extPending), e.file(r.ID, extBegun))
	if errors.Is(err, os.ErrNotExist) {
		return errWithdrawn
	}
	return err
}

// turnsOut tells whether an action that was sent turns out to be done, now or while the
// engine may still be at it. It waits for the engine until ctx ends.
func (e *Executor) turnsOut(ctx context.Context, r Request) bool {
	for began := time.Now(); ; {
		cli, now, err := e.find(ctx, r.Key)
		if err != nil {
			return false
		}
		_ = cli.Close()
		switch {
		case achieved(r.Action, r.StartedBefore, now):
			return true
		case time.Since(began) > e.patience+now.stopTimeout:
			return false
		}
		select {
		case <-time.After(lookDelay):
		case <-ctx.Done():
			return false
		}
	}
}

// order sends an action to the engine.
func order(ctx context.Context, cli *endpoint.Client, id, action string) (err error) {
	switch action {
	case ActionStart:
		_, err = cli.ContainerStart(ctx, id, client.ContainerStartOptions{})
	case ActionStop:
		_, err = cli.ContainerStop(ctx, id, client.ContainerStopOptions{})
	case ActionPause:
		_, err = cli.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	case ActionUnpause:
		_, err = cli.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
	case ActionRestart:
		_, err = cli.ContainerRestart(ctx, id, client.ContainerRestartOptions{})
	default:
		err = fmt.Errorf("there is no action %q", action)
	}
	return err
}

// ambiguous tells whether a call that failed may have been carried out.
func ambiguous(err error) bool {
	return client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// seen is what an action needs to know of a container.
type seen struct {
	state       string
	startedAt   time.Time
	stopTimeout time.Duration
}

// find looks at a container, waiting for the engine until ctx ends. The caller closes
// the client.
func (e *Executor) find(ctx context.Context, id string) (*endpoint.Client, seen, error) {
	for {
		cli, err := e.reach(ctx)
		if err != nil {
			return nil, seen{}, err
		}
		c, err := e.look(ctx, cli, id)
		if err == nil {
			return cli, c, nil
		}
		_ = cli.Close()
		if !ambiguous(err) {
			return nil, seen{}, err
		}
	}
}

func (e *Executor) look(ctx context.Context, cli *endpoint.Client, id string) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return seen{}, err
	}
	s := seen{state: state.StateUnknown, stopTimeout: 10 * time.Second}
	if c.Container.State != nil {
		s.state = mirror.ContainerState(string(c.Container.State.Status))
		s.startedAt = parseTime(c.Container.State.StartedAt)
	}
	if c.Container.Config != nil && c.Container.Config.StopTimeout != nil {
		s.stopTimeout = time.Duration(*c.Container.Config.StopTimeout) * time.Second
	}
	return s, nil
}

// plan tells what an action means in a state of the container: to do something,
// nothing because it is so already, or an error because it can't be. It is the same
// for all engines.
func plan(action, in string) (todo bool, err error) {
	type answer int
	const (
		no answer = iota
		yes
		done
	)
	table := map[string]map[string]answer{
		ActionStart: {
			state.StateCreated: yes, state.StateExited: yes,
			state.StateRunning: done, state.StateRestarting: done,
		},
		ActionStop: {
			state.StateRunning: yes, state.StatePaused: yes, state.StateRestarting: yes,
			state.StateCreated: done, state.StateExited: done, state.StateDead: done,
		},
		ActionPause:   {state.StateRunning: yes, state.StatePaused: done},
		ActionUnpause: {state.StatePaused: yes, state.StateRunning: done},
		ActionRestart: {
			state.StateCreated: yes, state.StateRunning: yes, state.StatePaused: yes,
			state.StateRestarting: yes, state.StateExited: yes,
		},
	}
	switch table[action][in] {
	case yes:
		return true, nil
	case done:
		return false, nil
	}
	return false, fmt.Errorf("can't %s a container that is %s", action, in)
}

// achieved tells whether a container is as an action leaves it. Where that is no
// proof, it must have been started since, when it was started before at the given time.
func achieved(action string, startedBefore time.Time, now seen) bool {
	switch action {
	case ActionStart, ActionRestart:
		return now.startedAt.After(startedBefore)
	case ActionStop:
		return now.state == state.StateExited || now.state == state.StateCreated || now.state == state.StateDead
	case ActionPause:
		return now.state == state.StatePaused
	case ActionUnpause:
		return now.state == state.StateRunning
	}
	return false
}

// Deletions.

// OwnNetwork tells whether a network of that name is one that the engine made itself and
// never deletes. On another engine a user's may be called so.
func OwnNetwork(e state.Engine, name string) bool {
	switch name {
	case "bridge", "host", "none":
		return true
	case "nat":
		return e.OS == "windows"
	case "podman":
		return e.ID == ""
	}
	return false
}

func (e *Executor) acceptDeletion(r Request) {
	t := r.target()
	switch r.Kind {
	case state.Containers, state.Images, state.Volumes:
	case state.Networks:
		if n, ok := e.store.Network(r.Key); ok && OwnNetwork(e.store.Engine(), n.Name) {
			e.decide(r, fmt.Errorf("network %q is the engine's own", n.Name))
			return
		}
	default:
		e.decide(r, fmt.Errorf("%s can't be deleted", r.Kind))
		return
	}
	if d := e.deletions[t]; d != nil {
		d.requests = append(d.requests, r)
		return
	}
	d := &deletion{
		requests: []Request{r},
		recorded: &state.Deletion{Request: r.ID, RequestedAt: r.RequestedAt},
		wait:     firstRetry,
		pin:      r.CreatedAt,
	}
	e.deletions[t] = d
	if e.watched && !e.checkPin(t, d) {
		return
	}
	e.record(t, d)
	e.schedule(t, d, 0)
}

// checkPin ends a deletion of a volume that is another than was meant, as far as its
// time of creation tells. It returns whether the deletion goes on.
func (e *Executor) checkPin(t target, d *deletion) bool {
	if t.kind != state.Volumes {
		return true
	}
	v, ok := e.store.Volume(t.key)
	if !ok {
		e.endDeletion(t, Outcome{State: state.ActionSucceeded})
		return false
	}
	if !d.pin.IsZero() && !v.CreatedAt.Equal(d.pin) {
		e.endDeletion(t, Outcome{
			State: state.ActionFailed,
			Error: fmt.Sprintf("volume %q is not, or not provably, the one that was meant: it was created at %s", t.key, v.CreatedAt.Format(time.RFC3339)),
		})
		return false
	}
	d.pin, d.pinned = v.CreatedAt, true
	return true
}

// pin follows the volume while nothing is missed.
func (e *Executor) pin(t target, d *deletion) {
	if !e.watched || t.kind != state.Volumes {
		return
	}
	if v, ok := e.store.Volume(t.key); ok && d.pinned {
		d.pin = v.CreatedAt
	}
}

// record notes the deletion on the object, if that is there.
func (e *Executor) record(t target, d *deletion) {
	e.store.SetDeletion(t.kind, t.key, t.reference, d.recorded)
}

// endDeletion decides a deletion.
func (e *Executor) endDeletion(t target, o Outcome) {
	d := e.deletions[t]
	if d == nil {
		return
	}
	delete(e.deletions, t)
	if d.cancel != nil {
		d.cancel()
	}
	e.store.SetDeletion(t.kind, t.key, t.reference, nil)
	for _, r := range d.requests {
		o.ID = r.ID
		e.decideAs(r, o)
	}
}

func (e *Executor) acceptCancel(r Request) {
	t := r.target()
	if e.deletions[t] == nil {
		e.decide(r, fmt.Errorf("no deletion of %q is requested", r.Name))
		return
	}
	e.endDeletion(t, Outcome{State: OutcomeCancelled})
	e.decide(r, nil)
}

// schedule tries the deletion after a wait, in place of the wait there was.
func (e *Executor) schedule(t target, d *deletion, wait time.Duration) {
	if d.cancel != nil {
		d.cancel()
	}
	d.waits++
	this := d.waits
	d.cancel = e.beside(func(ctx context.Context) func() {
		select {
		case <-time.After(wait):
			return func() {
				if e.deletions[t] == d && d.waits == this {
					e.try(t, d)
				}
			}
		case <-ctx.Done():
			return nil
		}
	})
}

// try asks the engine to delete the object.
func (e *Executor) try(t target, d *deletion) {
	if t.kind == state.Volumes && !d.pinned || t.kind == state.Images && !e.watched {
		// Not before the mirror has found the volume and it is the one, or the image on the
		// engine that is meant. What finds that tries it.
		d.cancel = nil
		return
	}
	pin := d.pin
	d.trying, d.tried = true, time.Now()
	d.cancel = e.beside(func(ctx context.Context) func() {
		gone, whole, err := e.remove(ctx, t, pin)
		err = endpoint.WithoutURL(err)
		e.source.Mark(t.kind, t.key)
		if e.ctx.Err() != nil {
			return nil
		}
		return func() {
			d.trying = false
			if e.deletions[t] != d {
				return // decided meanwhile
			}
			if gone {
				e.forget(t, d, whole)
				e.endDeletion(t, Outcome{State: state.ActionSucceeded})
				return
			}
			if err != nil && !errors.Is(err, errChanged) && d.recorded.Error != err.Error() {
				c := *d.recorded
				c.Error = err.Error()
				d.recorded = &c
				e.record(t, d)
			}
			e.schedule(t, d, jitter(d.wait))
			d.wait = min(2*d.wait, maxRetry)
		}
	})
}

// forget takes what was deleted out of the store at once, an object as a whole or only a
// reference of an image: who waited for the deletion must not find it there. The source
// has the last word.
func (e *Executor) forget(t target, d *deletion, whole bool) {
	if v, ok := e.store.Volume(t.key); t.kind == state.Volumes && (!ok || !v.CreatedAt.Equal(d.pin)) {
		return // another one already
	}
	if whole {
		e.store.Forget(t.kind, t.key, "")
	} else {
		e.store.Forget(t.kind, t.key, t.reference)
	}
}

// errChanged says that the mirror had to catch up first.
var errChanged = errors.New("it has just changed")

// remove deletes the object. It returns whether it is gone, and that as a whole or only a
// reference of an image, or why not.
func (e *Executor) remove(ctx context.Context, t target, pin time.Time) (gone, whole bool, err error) {
	cli, err := e.reach(ctx)
	if err != nil {
		return false, false, err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	whole = t.reference == ""
	switch t.kind {
	case state.Containers:
		_, err = cli.ContainerRemove(ctx, t.key, client.ContainerRemoveOptions{})
	case state.Networks:
		_, err = cli.NetworkRemove(ctx, t.key, client.NetworkRemoveOptions{})
	case state.Volumes:
		// The engine knows volumes by name alone. Nothing can come between this look
		// and the removal but another removal and creation at the same instant.
		var v client.VolumeInspectResult
		if v, err = cli.VolumeInspect(ctx, t.key, client.VolumeInspectOptions{}); err == nil {
			if !parseTime(v.Volume.CreatedAt).Equal(pin) {
				// Another one, or of an engine for which use changes it: once the
				// mirror has caught up, that is known.
				_ = e.source.Sync(ctx)
				return false, false, errChanged
			}
			_, err = cli.VolumeRemove(ctx, t.key, client.VolumeRemoveOptions{})
		}
	case state.Images:
		ref := t.key
		if t.reference != "" {
			ref = t.reference
			var i client.ImageInspectResult
			if i, err = cli.ImageInspect(ctx, ref); err == nil && i.ID != t.key {
				return true, false, nil // the reference is another image's: not what was meant
			}
		}
		if err == nil {
			var removed client.ImageRemoveResult
			removed, err = cli.ImageRemove(ctx, ref, client.ImageRemoveOptions{PruneChildren: true})
			// The last reference takes the image along, in containerd the digest all.
			whole = whole || slices.ContainsFunc(removed.Items, func(i image.DeleteResponse) bool {
				return i.Deleted != "" && strings.TrimPrefix(i.Deleted, "sha256:") == strings.TrimPrefix(t.key, "sha256:") // podman leaves it out
			})
		}
	}
	if cerrdefs.IsNotFound(err) {
		return true, whole, nil
	}
	return err == nil, whole, err
}
