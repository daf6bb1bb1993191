package mirror

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// SourceOptions are the options of a [Source]. Zero values of all but Connect work.
type SourceOptions struct {
	// Connect returns a client for the engine. It is called for each session; the
	// client is closed at its end. Its transport should keep Parallel idle
	// connections, or a sync spends its time on connecting.
	Connect func(ctx context.Context) (*endpoint.Client, error)
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
	// sync and events are what is told of the mirror, out is what has not been
	// received yet.
	sync   Sync
	events uint64
	out    Update

	mu       sync.Mutex
	waiting  []chan struct{} // for a full sync that has not begun
	settlers []chan struct{} // for what is on its way
	intake   *intake         // of the session under way
}

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
// complete and its last update was received. The error is that of ctx.
func (s *Source) Sync(ctx context.Context) error {
	done := make(chan struct{})
	s.wait([]chan struct{}{done})
	return await(ctx, done)
}

// Settle waits until the mirror has seen all that the engine had done before the call, as far
// as the engine tells, and the last update of that was received. Where the engine is not
// connected, that takes until it is. The error is that of ctx.
func (s *Source) Settle(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.settlers = append(s.settlers, done)
	s.mu.Unlock()
	signal(s.asked)
	return await(ctx, done)
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
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

// Mark has an object looked up although no event told of it. It returns at once.
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
func (s *Source) wait(done []chan struct{}) {
	s.mu.Lock()
	s.waiting = append(s.waiting, done...)
	s.mu.Unlock()
	s.Wake()
}

// takeWaiting returns who is waiting for a sync that begins now.
func (s *Source) takeWaiting() []chan struct{} {
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

// takeAsked returns who waits for what is on its way.
func (s *Source) takeAsked() []chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.settlers
	s.settlers = nil
	return a
}

// giveBack makes whoever waited for a session that failed wait for the next.
func (s *Source) giveBack(p *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(p.waiting, s.waiting...)
	for _, w := range p.settling { // a full sync shows that as well
		s.waiting = append(s.waiting, w.done...)
	}
	s.waiting = append(s.waiting, p.answers...)
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

func (s *Source) setSync(status state.Status, reason, message string) {
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
