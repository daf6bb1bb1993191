package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/containerd/platforms"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// SourceOptions are the options of a [Source]. Zero values of all but Connect work.
type SourceOptions struct {
	// Connect returns a client for the engine. It is called for each pass; the
	// client is closed at its end. Its transport should keep Parallel idle
	// connections, or a sync spends its time on connecting.
	Connect func(ctx context.Context) (*endpoint.Client, error)
	// Namespace is that of all objects, or "" for "moby".
	Namespace string
	// Resync is how often to sync in full though nothing calls for it, give or take a
	// tenth, or 0 for 5 minutes.
	Resync time.Duration
	// Parallel is how many inspections run at once, or 0 for 32.
	Parallel int
	// ListTimeout and InspectTimeout bound single calls: 0 for 2 minutes and 30
	// seconds.
	ListTimeout, InspectTimeout time.Duration
	// MaxBackoff is the longest wait between attempts to reach the engine, or 0 for
	// one second.
	MaxBackoff time.Duration
	// CPUTime returns the processor time that the process has used so far. With it,
	// calls that events cause are paced so that the mirror uses about a fifth of one
	// processor at most; nil for no pacing.
	CPUTime func() time.Duration
	// Log gets what went wrong; nil for nothing.
	Log *slog.Logger
}

// A Source lists and watches an engine. It works in passes: each takes the engine's
// clock, opens the event stream from there, lists everything, and then looks up what
// events mark, until the stream ends or it is time for the next one. So nothing that
// a pass missed stays wrong for longer than until the next.
type Source struct {
	opts    SourceOptions
	updates chan Update
	kick    chan struct{} // holds a value while somebody waits for a sync

	// images remembers between passes what can't change.
	images map[string]*knownImage
	// unpacks tells of the engine what it tells of marks.
	unpacks bool
	// sync and events are what is told of the mirror, out is what has not been
	// received yet.
	sync   Sync
	events uint64
	out    Update

	mu      sync.Mutex
	waiting []chan struct{} // for a full sync that has not begun
	intake  *intake         // of the pass under way
}

// NewSource returns a source that does nothing before Run.
func NewSource(opts SourceOptions) *Source {
	opts.Namespace = cmp.Or(opts.Namespace, "moby")
	opts.Resync = cmp.Or(opts.Resync, 5*time.Minute)
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
		images:  map[string]*knownImage{},
	}
}

// Updates returns the channel of what the source learns. It is never closed.
func (s *Source) Updates() <-chan Update { return s.updates }

// Sync asks for a full sync and waits until one that began after the call is
// complete and its last update was received. The error is that of ctx.
func (s *Source) Sync(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	s.mu.Unlock()
	s.Wake()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wake begins a new pass at once, also where the source waits because the engine
// could not be reached.
func (s *Source) Wake() {
	select {
	case s.kick <- struct{}{}:
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

// beginPass returns a new intake to which [Source.Mark] adds from now on.
func (s *Source) beginPass() *intake {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake = newIntake()
	return s.intake
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

// giveBack makes waiters of a pass that failed wait for the next.
func (s *Source) giveBack(w []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(w, s.waiting...)
}

// errRenew ends a pass so that the next begins at once.
var errRenew = errors.New("time for a new pass")

// Run lists and watches until ctx ends, whose error it returns. Everything it
// started has ended then.
func (s *Source) Run(ctx context.Context) error {
	backoff := newBackoff(s.opts.MaxBackoff)
	for {
		p := newPass(s)
		err := p.run(ctx)
		s.giveBack(p.waiting)
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

// facts asks the engine what it is, and what its clock showed at the given moment, or
// a little less. The offset is what its clock is ahead of ours, precise to the returned
// margin.
func (s *Source) facts(ctx context.Context, cli *endpoint.Client, moment time.Time) (e state.Engine, clock time.Time, offset, margin time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.InspectTimeout)
	defer cancel()
	// Not /version: it says little more, and dockerd runs two programs for each of them.
	var about endpoint.Pong
	var aboutErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		about, aboutErr = cli.About(ctx)
	}()
	begin := time.Now()
	result, err := cli.Info(ctx, client.InfoOptions{})
	margin = time.Since(begin)
	<-done
	if err := errors.Join(err, aboutErr); err != nil {
		return e, clock, 0, 0, fmt.Errorf("ask the engine what it is: %w", err)
	}
	info := result.Info
	e = state.Engine{
		ID:         info.ID,
		Version:    info.ServerVersion,
		APIVersion: about.APIVersion,
		OS:         info.OSType,
		Arch:       goarch(info.Architecture),
		Rootless:   slices.Contains(info.SecurityOptions, "name=rootless"),
	}
	s.unpacks = slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"})
	if about.Podman {
		e.ID = "" // it makes up another at each call
	}
	clock = parseTime(info.SystemTime)
	if clock.IsZero() {
		// Some engine that does not tell. Ours may be ahead of its clock.
		return e, moment.Add(-time.Minute), 0, time.Hour, nil
	}
	return e, clock.Add(-begin.Add(margin).Sub(moment)), clock.Sub(begin), margin, nil
}

// goarch returns Go's name for an architecture as uname(2) names it, which is how engines
// describe their hosts; everything else, images too, is described with Go's.
func goarch(machine string) string {
	switch machine {
	case "i486", "i586", "i686":
		machine = "i386"
	case "armv6l", "armv7l", "armv8l":
		machine = "armhf"
	}
	return platforms.Normalize(platforms.Platform{Architecture: machine}).Architecture
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
