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
	Connect func() (Engine, error)
	// Resync is the interval of full syncs, with a jitter of a tenth, or 0 for 5 minutes.
	Resync time.Duration
	// Silence is how long the engine may send nothing before it is pinged, or 0 for 30 seconds.
	Silence time.Duration
	// Parallel is the number of concurrent lookups, or 0 for 32.
	Parallel int
	// ListTimeout, InspectTimeout and PingTimeout bound single calls: 0 for 2 minutes, 20 seconds
	// and 5 seconds, which is the least for a ping.
	ListTimeout, InspectTimeout, PingTimeout time.Duration
	// MaxBackoff is the longest wait between attempts to reach the engine, or 0 for 1 second.
	MaxBackoff time.Duration
	// Log gets errors; nil for no log.
	Log *slog.Logger
}

// A Source lists and watches an engine. It works in sessions: each takes the engine's clock,
// opens the event stream at that time, lists everything, and then looks up what events mark,
// until the stream ends or the next session is due. So whatever a session missed is right again
// with the next.
type Source struct {
	opts    SourceOptions
	updates chan Update
	kick    chan struct{} // holds a value while a new session is wanted
	asked   chan struct{} // holds a value while settlers may have entries
	doubted chan struct{} // holds a value while a ping is wanted

	images *imageCache // lasts from session to session
	// sync and events describe the mirror; out has not been received yet.
	sync   Sync
	events uint64
	out    Update
	logged string // why the engine's events were lost, until the mirror is synced again

	mu       sync.Mutex
	waiting  []*waiter // for a full sync that has not begun
	settlers []*waiter // for events in flight
	lost     bool      // the engine is not connected
	intake   *intake   // of the current session
}

// A waiter waits for a full sync, for the events in flight, or for the lookup of an object.
type waiter struct {
	done chan error // gets one value
	// settles: it fails while the engine is not connected.
	settles bool
	object  *key // nil for the events in flight
}

func newWaiter(settles bool) *waiter { return &waiter{done: make(chan error, 1), settles: settles} }

// ErrDisconnected says that the mirror gets no events from the engine.
var ErrDisconnected = errors.New("the engine is not connected")

// NewSource returns a source for Run.
func NewSource(opts SourceOptions) *Source {
	opts.Resync = cmp.Or(opts.Resync, 5*time.Minute)
	opts.Silence = cmp.Or(opts.Silence, 30*time.Second)
	opts.Parallel = cmp.Or(opts.Parallel, 32)
	opts.ListTimeout = cmp.Or(opts.ListTimeout, 2*time.Minute)
	opts.InspectTimeout = cmp.Or(opts.InspectTimeout, max(20*time.Second, opts.PingTimeout))
	opts.PingTimeout = max(opts.PingTimeout, min(5*time.Second, opts.InspectTimeout))
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

// Updates returns the channel of updates. It is never closed.
func (s *Source) Updates() <-chan Update { return s.updates }

// Sync waits until a full sync that began after the call is complete and its last update was
// received: while the engine is not connected, until it is again. The error is ctx's.
func (s *Source) Sync(ctx context.Context) error {
	w := newWaiter(false)
	s.wait(w)
	return w.await(ctx)
}

// Settle waits until everything that the engine had done before the call, and reports, has been
// looked up and its last update was received. The error is ctx's, or [ErrDisconnected].
func (s *Source) Settle(ctx context.Context) error { return s.settle(ctx, newWaiter(true)) }

// Look has an object looked up without an event, and waits until its update was received. The error
// is ctx's, or [ErrDisconnected].
func (s *Source) Look(ctx context.Context, kind state.Kind, id string) error {
	w := newWaiter(true)
	w.object = &key{kind, id}
	return s.settle(ctx, w)
}

func (s *Source) settle(ctx context.Context, w *waiter) error {
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

// Wake begins a new session at once, and cuts a backoff short.
func (s *Source) Wake() { signal(s.kick) }

// Doubting has the engine pinged, unless stop is called soon: a call to it has begun. Without an
// answer to the ping, the mirror is disconnected.
func (s *Source) Doubting() (stop func() bool) {
	return time.AfterFunc(unanswered, func() { signal(s.doubted) }).Stop
}

// signal fills a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Mark has an object looked up without an event. It does not wait.
func (s *Source) Mark(kind state.Kind, id string) {
	s.mu.Lock()
	in := s.intake
	s.mu.Unlock()
	if in != nil { // else everything is listed anyway
		in.mark(kind, id)
	}
}

// beginSession returns a new intake, which [Source.Mark] uses from now on.
func (s *Source) beginSession() *intake {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake = newIntake()
	return s.intake
}

// wait adds waiters for the next session's full sync.
func (s *Source) wait(w ...*waiter) {
	s.mu.Lock()
	s.waiting = append(s.waiting, w...)
	s.mu.Unlock()
	s.Wake()
}

// takeWaiting returns the waiters for a full sync that begins now.
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

// takeSettlers returns the waiters for events in flight.
func (s *Source) takeSettlers() []*waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.settlers
	s.settlers = nil
	return w
}

// giveBack makes the waiters of a session that has ended wait for the next.
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

// setLost notes whether the engine is not connected, in which case settlers fail.
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

// Run lists and watches until ctx ends, whose error it returns. All its goroutines have ended
// then.
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
			backoff.reset() // else a stream that ends at once each time would cause a sync after another
		}
		message := err.Error()
		if s.logged != message { // not for each attempt
			s.logged = message
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

// emitSync adds the sync state to the next update.
func (s *Source) emitSync() {
	y := s.sync
	s.out.Sync = &y
}

// deliver sends the pending update with the sync state.
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

type backoff struct{ wait, limit time.Duration }

func newBackoff(limit time.Duration) *backoff {
	b := &backoff{limit: limit}
	b.reset()
	return b
}

func (b *backoff) reset() { b.wait = min(b.limit, 50*time.Millisecond) }

// next returns how long to wait, with a jitter of a fifth.
func (b *backoff) next() time.Duration {
	wait := b.wait
	b.wait = min(b.limit, 2*b.wait)
	return Jitter(wait, 5)
}

// Jitter returns d plus or minus at most d/n, at random.
func Jitter(d, n time.Duration) time.Duration {
	return d - d/n + rand.N(2*(d/n)+1)
}
