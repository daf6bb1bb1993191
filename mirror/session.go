package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// lookupRate and lookupBurst are a token bucket for the lookups that events cause, per
	// second: it bounds the processor time of a storm. Waiting for less than lookupQuantum is
	// not worth a wake-up.
	lookupRate    = 1200
	lookupBurst   = 600
	lookupQuantum = 20 * time.Millisecond
	// gather is the least time between two looks at what events have marked: in a storm, to wake up
	// for each event would take as much processor time as the lookups.
	gather = 5 * time.Millisecond
	// unanswered is how long a call may take before the engine is pinged.
	unanswered = 2 * time.Second
)

// A session is one run of list and watch: one connection, one event stream, at least one full
// sync. All its fields belong to run's goroutine; calls to the engine are async and send it
// their results.
type session struct {
	src    *Source
	engine Engine
	intake *intake

	calls    sync.WaitGroup
	results  chan func() // what run does when a call has ended
	numbered uint64      // list calls and lookups so far
	queue    *queue
	listings []*listing
	limiter  *rate.Limiter

	full     *fullSync   // under way, nil for none
	waiting  []*waiter   // for this session's first full sync
	settling []*settling // for events in flight
	doubtful []*waiter   // for the ping, and then for a full sync
	answers  []*waiter   // for the update that is being sent

	names     map[string]string // of containers that events reported as removed
	parts     map[key]any       // containers as they were listed, until they are looked up
	suspicion suspicion
	synced    bool
	cost      time.Duration // of the last full sync
	ended     time.Time     // when it was complete
	renew     bool          // it is time for a new session
	silent    error         // ends it at once: the engine does not answer
	pinging   bool
}

type fullSync struct {
	*barrier
	failed int
	begin  time.Time
	// suspected: it was begun because events may have been lost, as in a storm.
	suspected bool
}

func newSession(s *Source) *session {
	return &session{
		src: s, intake: s.beginSession(), waiting: s.takeWaiting(),
		results: make(chan func()), queue: newQueue(), limiter: rate.NewLimiter(lookupRate, lookupBurst),
		names: map[string]string{}, parts: map[key]any{},
	}
}

// run lists and watches until the stream or ctx ends, or it is time for a new session
// (errRenew). All its goroutines have ended when it returns.
func (p *session) run(ctx context.Context) error {
	s := p.src
	if s.sync.Status == "" {
		s.setSync(state.False, state.ReasonSyncing, "")
		if err := s.deliver(ctx); err != nil {
			return err
		}
	}
	engine, err := s.opts.Connect()
	if err != nil {
		return fmt.Errorf("connect to the engine: %w", err)
	}
	defer engine.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer p.calls.Wait()
	defer cancel()
	p.engine = engine
	for _, r := range engine.resources() {
		p.listings = append(p.listings, &listing{resource: r})
	}

	// The lists take longest, so they come first. The stream will begin at the time before them.
	begin := time.Now()
	if engine.replays() {
		p.startFull(false)
		p.dispatch(ctx)
	}
	asking, answered := context.WithTimeout(ctx, s.opts.InspectTimeout)
	facts, err := engine.facts(asking, begin, s.opts.PingTimeout)
	answered()
	if err != nil {
		return err
	}
	ended, err := engine.watch(ctx, s.opts.InspectTimeout, p.intake, p.calls.Go)
	if err != nil {
		return err
	}
	if !engine.replays() {
		p.startFull(false)
	}
	// Not before: while the engine can't be reached the mirror stays Disconnected, and an
	// attempt writes nothing.
	if s.sync.Status != state.True {
		s.setSync(state.False, state.ReasonSyncing, "")
	}
	s.setLost(false)
	s.sync.Connected = true
	s.out.Engine = &facts
	s.emitSync()
	return p.watch(ctx, ended)
}

// watch is the loop of the session.
func (p *session) watch(ctx context.Context, ended <-chan error) error {
	s := p.src
	resync := time.NewTimer(Jitter(s.opts.Resync, 10))
	defer resync.Stop()
	silence := time.NewTimer(s.opts.Silence)
	defer silence.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	marked := p.intake.ready // nil for a moment after each look
	gathered := time.NewTimer(gather)
	defer gathered.Stop()
	for {
		p.settle(ctx)
		switch {
		case p.silent != nil:
			return p.silent
		case p.failure() == nil:
			p.dispatch(ctx)
		case !p.isListing(): // the other lists may fail for the same reason
			return p.failure()
		}
		if at, ok := p.wake(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		updates, out, kept := p.next()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-s.kick:
			p.renew = true
		case <-resync.C:
			p.renew = true
		case <-s.doubted:
			p.ping(ctx)
		case <-silence.C:
			if wait := time.Until(p.intake.lastHeard().Add(s.opts.Silence)); wait > 0 {
				silence.Reset(wait)
			} else {
				p.ping(ctx)
				silence.Reset(s.opts.Silence)
			}
		case <-marked:
			p.take()
			marked = nil
			gathered.Reset(gather)
		case <-gathered.C:
			marked = p.intake.ready
		case <-s.asked:
			// p.settle takes them
		case then := <-p.results:
			p.intake.heard()
			then()
		case updates <- out:
			s.out = kept
			p.answer()
		case <-timer.C:
		}
		// A full sync in progress ends first: others may be waiting for it. The next session
		// looks up the rest.
		if p.renew && p.full == nil && len(p.waiting)+len(p.answers) == 0 {
			return errRenew
		}
	}
}

// next returns the update to send now, and what is kept back of it: while the mirror is not
// synced, changes wait until everything is listed.
func (p *session) next() (updates chan<- Update, out, kept Update) {
	s := p.src
	out = s.out
	if s.sync.Status != state.True && p.full != nil && len(p.full.lists) > 0 {
		out.Changes, kept.Changes = nil, out.Changes
	}
	if out.empty() {
		p.answer() // nothing to wait for
		return nil, out, kept
	}
	out.Events = s.events
	return s.updates, out, kept
}

// answer wakes the waiters whose update was received.
func (p *session) answer() {
	for _, w := range p.answers {
		w.done <- nil
	}
	p.answers = nil
}

// call runs f async. The loop then calls what f returned.
func (p *session) call(ctx context.Context, timeout time.Duration, f func(ctx context.Context) (then func())) {
	p.calls.Go(func() {
		call, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		stop := p.src.Doubting()
		then := f(call)
		stop()
		select {
		case p.results <- then:
		case <-ctx.Done():
		}
	})
}

// ping ends the session if the engine does not answer.
func (p *session) ping(ctx context.Context) {
	if p.pinging {
		return
	}
	p.pinging = true
	p.call(ctx, p.src.opts.PingTimeout, func(ctx context.Context) func() {
		err := p.engine.Ping(ctx)
		return func() {
			p.pinging = false
			if err != nil {
				p.silent = fmt.Errorf("%w: %w", errNoAnswer, err)
			} else if len(p.doubtful) > 0 {
				p.src.wait(p.doubtful...)
				p.doubtful = nil
			}
		}
	})
}

// take queues what the events marked.
func (p *session) take() {
	m := p.intake.take()
	p.src.events += m.events
	for kind, urgent := range m.kinds {
		l := p.of(kind)
		l.wanted, l.urgent = true, l.urgent || urgent
	}
	for k, mark := range m.keys {
		if l := p.of(k.kind); l.listsAll {
			l.wanted, l.urgent = true, true
			continue
		}
		p.queue.mark(k, mark.gone)
		if mark.gone && mark.name != "" {
			p.names[k.id] = mark.name
		}
	}
	p.suspect(m.late, m.jumped)
}

// dispatch starts the calls that are due, as far as the limits allow.
func (p *session) dispatch(ctx context.Context) {
	now := time.Now()
	p.queue.due(now)
	if p.full == nil && p.suspicion.due(now) {
		p.startFull(true)
	}
	for _, l := range p.listings {
		if l.wanted && l.call == 0 && !now.Before(l.pace.due(l.urgent)) {
			p.list(ctx, l, now)
		}
	}
	for p.room() && (!p.paced() || p.limiter.AllowN(now, 1)) {
		if k, ok := p.queue.next(p.numbered+1, p.bulk()); ok {
			p.lookUp(ctx, k)
		}
	}
}

// room reports whether another lookup may be started.
func (p *session) room() bool {
	return p.queue.flying < p.src.opts.Parallel && p.queue.waiting(p.bulk())
}

// bulk reports whether objects that are not urgent may be looked up: not while a full sync
// lists, since others wait for the lists first.
func (p *session) bulk() bool {
	if p.full != nil {
		return len(p.full.lists) == 0
	}
	return len(p.queue.urgent) == 0
}

// paced reports whether the token bucket counts: not in a full sync that others may wait for.
func (p *session) paced() bool {
	return p.full == nil || p.full.suspected && !p.renew
}

// wake returns when the loop has to run again though nothing happens.
func (p *session) wake() (at time.Time, ok bool) {
	due := func(t time.Time) {
		if !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if p.room() {
		due(time.Now().Add(lookupQuantum))
	}
	for _, l := range p.listings {
		if l.wanted && l.call == 0 {
			due(l.pace.due(l.urgent))
		}
	}
	if t, ok := p.queue.wake(); ok {
		due(t)
	}
	if p.full == nil {
		due(p.suspicion.at)
	}
	return at, ok
}

func (p *session) startFull(suspected bool) {
	p.full = &fullSync{barrier: newBarrier(0), begin: time.Now(), suspected: suspected}
	for _, l := range p.listings {
		p.full.lists[l.kind] = p.numbered + 1
		l.wanted, l.urgent = true, true
		l.pace = pace{}
	}
	p.suspicion = suspicion{}
}

func (p *session) completed() {
	s := p.src
	message := ""
	if p.full.failed > 0 {
		message = fmt.Sprintf("objects that could not be inspected, and are tried again: %d", p.full.failed)
	}
	p.ended = time.Now()
	p.cost = p.ended.Sub(p.full.begin)
	p.full = nil
	p.synced = true
	s.logged = ""
	s.sync.SyncedAt = p.ended.UTC()
	s.sync.Resyncs++
	s.setSync(state.True, state.ReasonSynced, message)
	s.emitSync()
	p.answers, p.waiting = append(p.answers, p.waiting...), nil
}

// barriers returns everything that waits for calls.
func (p *session) barriers() (all []*barrier) {
	if p.full != nil {
		all = append(all, p.full.barrier)
	}
	for _, w := range p.settling {
		all = append(all, w.barrier)
	}
	return all
}
