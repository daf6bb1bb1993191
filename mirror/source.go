package mirror

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// SourceOptions are the options of a [Source]. Zero values of all but Connect work.
type SourceOptions struct {
	// Connect returns a connection to the engine. It is called for each session; the
	// connection is closed at its end.
	Connect func(ctx context.Context) (Engine, error)
	// Resync is how often to sync in full though nothing calls for it, give or take a
	// tenth, or 0 for 5 minutes.
	Resync time.Duration
	// Silence is how long an engine that says nothing is believed to be there before it is
	// pinged, or 0 for 30 seconds.
	Silence time.Duration
	// Parallel is how many inspections run at once, or 0 for 32.
	Parallel int
	// ListTimeout and InspectTimeout bound single calls: 0 for 2 minutes and 30
	// seconds.
	ListTimeout, InspectTimeout time.Duration
	// MaxBackoff is the longest wait between attempts to reach the engine, or 0 for
	// one second.
	MaxBackoff time.Duration
	// Log gets what went wrong; nil for nothing.
	Log *slog.Logger
}

// A Source lists and watches an engine. It works in sessions: each takes the engine's
// clock, opens the event stream from there, lists everything, and then looks up what
// events mark, until the stream ends or it is time for the next one. So nothing that
// a session missed stays wrong for longer than until the next.
type Source struct {
	opts    SourceOptions
	updates chan Update
	kick    chan struct{} // holds a value while somebody waits for a sync
	asked   chan struct{} // holds a value while somebody waits in settlers
	doubted chan struct{} // holds a value while somebody doubts that the engine answers

	images *imageCache // lasts from session to session
	// sync and events describe the mirror, and out is what has not been
	// received yet.
	sync   Sync
	events uint64
	out    Update

	mu       sync.Mutex
	waiting  []*waiter // for a full sync that has not begun
	settlers []*waiter // for what is on its way
	lost     bool      // the engine is not connected
	intake   *intake   // of the session under way
}

// A waiter waits for the mirror to be as far as it asks for.
type waiter struct {
	done chan error // gets one value
	// settles: it does not wait for an engine that is not connected.
	settles bool
}

func newWaiter(settles bool) *waiter { return &waiter{make(chan error, 1), settles} }

// ErrDisconnected says that the mirror can't see what goes on in the engine.
var ErrDisconnected = errors.New("the engine is not connected")

// NewSource returns a source that does nothing before Run.
func NewSource(opts SourceOptions) *Source {
	opts.Resync = cmp.Or(opts.Resync, 5*time.Minute)
	opts.Silence = cmp.Or(opts.Silence, 30*time.Second)
	opts.Parallel = cmp.Or(opts.Parallel, 32)
	opts.ListTimeout = cmp.Or(opts.ListTimeout, 2*time.Minute)
	opts.InspectTimeout = cmp.Or(opts.InspectTimeout, 30*time.Second)
	opts.MaxBackoff = cmp.Or(opts.MaxBackoff, time.Second)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{
		opts:    opts,
		updates: make(chan Update),
		kick:    make(chan struct{}, 1),
		asked:   make(chan struct{}, 1),
		doubted: make(chan struct{}, 1),
		images:  newImageCache(),
	}
}

// Updates returns the channel of what the source learns. It is never closed.
func (s *Source) Updates() <-chan Update { return s.updates }

// Sync asks for a full sync and waits until one that began after the call is
// complete and its last update was received. Where the engine is not connected, that takes
// until it is. The error is that of ctx.
func (s *Source) Sync(ctx context.Context) error {
	w := newWaiter(false)
	s.wait(w)
	return w.await(ctx)
}

// Settle waits until the mirror has seen all that the engine had done before the call, as far
// as the engine tells, and the last update of that was received. The error is that of ctx, or
// [ErrDisconnected].
func (s *Source) Settle(ctx context.Context) error {
	w := newWaiter(true)
	s.mu.Lock()
	lost := s.lost
	if !lost {
		s.settlers = append(s.settlers, w)
	}
	s.mu.Unlock()
	if lost {
		return ErrDisconnected
	}
	signal(s.asked)
	return w.await(ctx)
}

func (w *waiter) await(ctx context.Context) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wake begins a new session at once, also where the source waits because the engine
// could not be reached.
func (s *Source) Wake() { signal(s.kick) }

// Doubt has the engine pinged: a call to it goes unanswered. If it does not answer the ping
// either, the mirror is disconnected.
func (s *Source) Doubt() { signal(s.doubted) }

// signal puts a value into a channel that holds one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Mark has an object looked up without an event. It returns at once.
func (s *Source) Mark(kind state.Kind, id string) {
	s.mu.Lock()
	in := s.intake
	s.mu.Unlock()
	if in != nil { // else everything is listed anyway
		in.mark(kind, id)
	}
}

// beginSession returns a new intake to which [Source.Mark] adds from now on.
func (s *Source) beginSession() *intake {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake = newIntake()
	return s.intake
}

// wait has somebody wait for the next session's full sync.
func (s *Source) wait(w ...*waiter) {
	s.mu.Lock()
	s.waiting = append(s.waiting, w...)
	s.mu.Unlock()
	s.Wake()
}

// takeWaiting returns who is waiting for a sync that begins now.
func (s *Source) takeWaiting() []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.kick:
	default:
	}
	w := s.waiting
	s.waiting = nil
	return w
}

// takeSettlers returns who waits for what is on its way.
func (s *Source) takeSettlers() []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.settlers
	s.settlers = nil
	return w
}

// giveBack makes whoever waited for a session that is over wait for the next.
func (s *Source) giveBack(p *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(p.waiting, s.waiting...)
	for _, w := range p.settling {
		s.settlers = append(s.settlers, w.done...)
	}
	s.settlers = append(s.settlers, p.doubtful...)
	s.waiting = append(s.waiting, p.answers...) // their update was not received
}

// setLost notes whether the engine is not connected. Then nobody can see what is on its way.
func (s *Source) setLost(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
	if !lost {
		return
	}
	var rest []*waiter
	for _, w := range append(s.waiting, s.settlers...) {
		if w.settles {
			w.done <- ErrDisconnected
		} else {
			rest = append(rest, w)
		}
	}
	s.waiting, s.settlers = rest, nil
}

// errRenew ends a session so that the next begins at once.
var errRenew = errors.New("time for a new session")

// Run lists and watches until ctx ends, whose error it returns. Everything it
// started has ended then.
func (s *Source) Run(ctx context.Context) error {
	backoff := newBackoff(s.opts.MaxBackoff)
	for {
		p := newSession(s)
		err := p.run(ctx)
		s.giveBack(p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errRenew) {
			backoff.reset()
			continue
		}
		if p.synced && time.Since(p.ended) > s.opts.MaxBackoff {
			backoff.reset() // else a stream that always ends at once would have it sync all the time
		}
		message := err.Error()
		if s.sync.Reason != state.ReasonDisconnected || s.sync.Message != message { // once, not each time it is tried
			s.opts.Log.Warn("lost the engine's events", "error", err)
		}
		s.setLost(true)
		s.sync.Connected = false
		s.setSync(state.False, state.ReasonDisconnected, message)
		if err := s.deliver(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.kick:
		case <-time.After(backoff.next()):
		}
	}
}

func (s *Source) setSync(status state.Status, reason state.Reason, message string) {
	s.sync.Status, s.sync.Reason, s.sync.Message = status, reason, message
}

// emitSync adds how far the mirror is to what is sent next.
func (s *Source) emitSync() {
	y := s.sync
	s.out.Sync = &y
}

// deliver sends what there is, with how far the mirror is.
func (s *Source) deliver(ctx context.Context) error {
	s.emitSync()
	s.out.Events = s.events
	select {
	case s.updates <- s.out:
		s.out = Update{}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backoff counts the growing waits between attempts.
type backoff struct{ wait, limit time.Duration }

func newBackoff(limit time.Duration) *backoff {
	b := &backoff{limit: limit}
	b.reset()
	return b
}

func (b *backoff) reset() { b.wait = min(b.limit, 50*time.Millisecond) }

// next returns how long to wait, with a jitter of a fifth so that many sources of
// one engine do not come back at once.
func (b *backoff) next() time.Duration {
	wait := b.wait
	b.wait = min(b.limit, 2*b.wait)
	return jitter(wait, 5)
}

// jitter returns d give or take one n-th.
func jitter(d time.Duration, n int64) time.Duration {
	spread := int64(d) / n
	return d - time.Duration(spread) + time.Duration(rand.Int64N(2*spread+1))
}
