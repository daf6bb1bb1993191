package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// lateEvents is how many late events make it likely that some were lost: half of
	// the 256 that moby replays to a late subscriber.
	lateEvents = 128
	// maxSuspicion is how long a full sync waits for late events to end, suspectPause for
	// how many times as long as the last one took the engine is left alone before.
	maxSuspicion = 5 * time.Second
	suspectPause = 4
	// listShare is the part of the time that listing a kind again and again may
	// take: one in so many. No list waits for longer than maxListWait for that: what
	// took long may have been the connection.
	listShare   = 10
	maxListWait = time.Second
	// idleShare, minIdleWait and maxIdleWait are the same for what is not urgent, as
	// images are when containers come and go: an engine that keeps images in containerd
	// spends a millisecond on each that it lists.
	idleShare   = 50
	minIdleWait = time.Second
	maxIdleWait = 30 * time.Second
	// retryWait and maxRetryWait are the first and the longest wait before an object
	// is looked up again that could not be inspected, or that won't stay as it is.
	retryWait    = 200 * time.Millisecond
	maxRetryWait = time.Minute
	// maxStartWait is the wait after which a container with an address is no more taken for
	// one that is about to run.
	maxStartWait = 2 * time.Second
	// maxRefusals is how often in a row the engine may refuse to list a kind before the
	// pass ends. Podman does so while a container or an image is being removed.
	maxRefusals = 5
)

// podmanDefault is podman's default network, as its list calls it. When it was made,
// podman makes up at each call.
const podmanDefault = "bridge"

// listedKinds are the kinds that the engine lists.
var listedKinds = []state.Kind{state.Containers, state.Images, state.Volumes, state.Networks}

// A pass is one run of list and watch. All its fields belong to the goroutine of
// run; calls to the engine run beside it and send their results to it.
type pass struct {
	src     *Source
	cli     *endpoint.Client
	intake  *intake
	podman  bool            // the engine is podman
	waiting []chan struct{} // for this pass to be synced
	synced  bool

	calls   sync.WaitGroup
	lists   chan listResult
	lookups chan lookupResult

	// urgent and bulk are the queues of objects to look up: those of events, those
	// of lists. queued tells what is in which.
	urgent, bulk []key
	bulkNext     bool // whose turn it is where both wait
	queued       map[key]mark
	inUrgent     map[key]bool
	flying       map[key]mark // being looked up
	again        map[key]mark // marked while being looked up
	retries      map[key]*retry

	listing map[state.Kind]*listing
	relist  map[state.Kind]bool      // to be listed (again), and whether that is urgent
	notYet  map[state.Kind]time.Time // not to be listed before
	idle    map[state.Kind]time.Time // nor, where that is not urgent, before
	refused map[state.Kind]int       // how often in a row the engine refused to list it

	// full is the full sync under way, nil for none.
	full   *fullSync
	budget budget
	// suspicious: events may have been lost; a full sync is due at suspectAt.
	suspicious              bool
	suspectSince, suspectAt time.Time

	late  int           // late events since the last suspicion
	cost  time.Duration // of the last full sync
	ended time.Time     // when it was complete
	renew bool          // somebody asked for a new pass during the full sync
}

// A listing is a list call under way.
type listing struct {
	begin time.Time
	// touched are the objects that were looked up while it ran. What it says of
	// them may be older than what the lookup said, or newer.
	touched map[string]bool
}

// A fullSync is what a full sync still waits for.
type fullSync struct {
	lists map[state.Kind]bool
	// keys are the objects to look up, with how many answers are to come: the first
	// of two may be older than the list.
	keys   map[key]int
	failed int
	begin  time.Time
	// suspected: events may have been lost, which is so where there are too many.
	suspected bool
}

// A retry is an object that is looked up again by itself.
type retry struct {
	at   time.Time
	wait time.Duration
}

type listResult struct {
	kind    state.Kind
	objects []any
	err     error
}

type lookupResult struct {
	key    key
	object any // nil for gone
	image  *imageDetails
	err    error
}

// A knownImage is what is known of an image beyond the list. It holds as long as
// the list says the same.
type knownImage struct {
	listed  state.Image
	details *imageDetails
}

func newPass(s *Source) *pass {
	return &pass{
		src:      s,
		intake:   s.beginPass(),
		budget:   budget{used: s.opts.CPUTime},
		waiting:  s.takeWaiting(),
		lists:    make(chan listResult),
		lookups:  make(chan lookupResult),
		queued:   map[key]mark{},
		inUrgent: map[key]bool{},
		flying:   map[key]mark{},
		again:    map[key]mark{},
		retries:  map[key]*retry{},
		listing:  map[state.Kind]*listing{},
		relist:   map[state.Kind]bool{},
		notYet:   map[state.Kind]time.Time{},
		idle:     map[state.Kind]time.Time{},
		refused:  map[state.Kind]int{},
	}
}

// run lists and watches until the stream ends, ctx ends or it is time for a new pass
// (errRenew). Every goroutine it started has ended when it returns.
func (p *pass) run(ctx context.Context) error {
	s := p.src
	if s.sync.Status == "" {
		s.setSync(state.False, state.ReasonSyncing, "")
		if err := s.deliver(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer p.calls.Wait()
	defer cancel()
	cli, err := s.opts.Connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to the engine: %w", err)
	}
	defer cli.Close()
	p.cli = cli

	// The lists take longest, so they come first. The stream will begin with what
	// happened since the moment before.
	begin := time.Now()
	p.startFull()
	p.dispatch(ctx)
	engine, clock, offset, margin, err := s.facts(ctx, cli, begin)
	if err != nil {
		return err
	}
	p.podman = engine.ID == ""
	p.intake.marks.podman, p.intake.marks.unpacks = p.podman, s.unpacks
	ended, err := p.open(ctx, clock, offset, margin)
	if err != nil {
		return err
	}
	// Not before: while the engine can't be reached, the mirror stays Disconnected
	// and every attempt does not make two writes.
	if s.sync.Status != state.True {
		s.setSync(state.False, state.ReasonSyncing, "")
	}
	s.sync.Connected = true
	s.out.Engine = &engine
	s.emitSync()
	return p.watch(ctx, ended)
}

// startFull begins a full sync.
func (p *pass) startFull() {
	p.full = &fullSync{lists: map[state.Kind]bool{}, keys: map[key]int{}, begin: time.Now()}
	for _, kind := range listedKinds {
		p.full.lists[kind] = true
		p.relist[kind] = true
		delete(p.notYet, kind)
	}
	p.suspicious = false
}

// watch is the loop of the pass.
func (p *pass) watch(ctx context.Context, ended <-chan error) error {
	s := p.src
	resync := time.NewTimer(jitter(s.opts.Resync, 10))
	defer resync.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failure error // the end of the pass, as soon as the other lists are there
	for {
		if failure == nil {
			p.dispatch(ctx)
		} else if len(p.listing) == 0 {
			return failure
		}
		p.settle()
		if at, ok := p.nextTimer(); ok {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		var updates chan<- Update
		out, kept := s.out, Update{}
		if p.hold() {
			out.Changes, kept.Changes = nil, out.Changes
		}
		if !out.empty() {
			out.Events = s.events
			updates = s.updates
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-s.kick:
			p.renew = true
		case <-resync.C:
			p.renew = true
		case <-p.intake.ready:
			p.take()
		case r := <-p.lists:
			if r.err != nil {
				failure = cmp.Or(failure, p.notListed(r))
			} else {
				p.listed(r)
			}
		case r := <-p.lookups:
			p.lookedUp(r)
		case updates <- out:
			s.out = kept
			if p.full == nil {
				p.answer()
			}
		case <-timer.C:
		}
		// A sync under way ends first: others may be waiting for it. What has not
		// been looked up by then the next pass will.
		if p.renew && p.full == nil && len(p.waiting) == 0 {
			return errRenew
		}
	}
}

// hold tells whether to keep back the objects that are known until everything is
// listed: as long as the mirror is not synced, a part of them is of no use.
func (p *pass) hold() bool {
	s := p.src
	return s.sync.Status != state.True && p.full != nil && len(p.full.lists) > 0
}

// answer tells who waited for the sync that it is complete and received.
func (p *pass) answer() {
	for _, done := range p.waiting {
		close(done)
	}
	p.waiting = nil
}

// take takes over what the events marked.
func (p *pass) take() {
	m, events, late, jumped := p.intake.take()
	p.src.events += events
	for kind, urgent := range m.kinds {
		p.relist[kind] = p.relist[kind] || urgent
	}
	for k, mark := range m.keys {
		if r := p.retries[k]; r != nil {
			r.wait = retryWait // it is not as it was
		}
		p.enqueue(k, mark, true)
	}
	p.late += late
	if p.late >= lateEvents || jumped {
		p.late = 0
		now := time.Now()
		if !p.suspicious {
			p.suspicious, p.suspectSince = true, now
			p.src.opts.Log.Info("events came late or the engine's clock jumped: syncing in full once more")
		}
		// Once the wave is over, if it ends soon, and seldom enough to leave the engine alone.
		p.suspectAt = earlier(now.Add(4*lateBy), p.suspectSince.Add(maxSuspicion))
		p.suspectAt = later(p.suspectAt, p.ended.Add(suspectPause*p.cost))
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// enqueue has an object looked up, before others if it is urgent. One that is being
// looked up is looked up once more afterwards: the answer may be older than the mark.
func (p *pass) enqueue(k key, m mark, urgent bool) {
	if _, ok := p.flying[k]; ok {
		m.gone = m.gone || p.again[k].gone
		p.again[k] = m
		return
	}
	old, ok := p.queued[k]
	p.queued[k] = mark{gone: m.gone || old.gone}
	switch {
	case urgent && !p.inUrgent[k]:
		p.inUrgent[k] = true
		p.urgent = append(p.urgent, k)
	case !urgent && !ok:
		p.bulk = append(p.bulk, k)
	}
}

// dequeue returns the next object to look up: urgent ones and others in turns, or a storm
// would keep a full sync from ever being complete.
func (p *pass) dequeue() (k key, m mark, ok bool) {
	for {
		// Not while lists are under way: that all is listed is the first thing that
		// others wait for.
		bulk := len(p.bulk) > 0 && (p.full == nil || len(p.full.lists) == 0)
		switch {
		case len(p.urgent) > 0 && !(bulk && p.bulkNext):
			k, p.urgent = p.urgent[0], p.urgent[1:]
			delete(p.inUrgent, k)
			p.bulkNext = true
		case bulk:
			k, p.bulk = p.bulk[0], p.bulk[1:]
			p.bulkNext = false
		case len(p.urgent)+len(p.bulk) == 0:
			p.urgent, p.bulk = nil, nil // and the arrays behind them
			fallthrough
		default:
			return k, m, false
		}
		if m, ok = p.queued[k]; ok { // else it was in both queues
			delete(p.queued, k)
			return k, m, true
		}
	}
}

// dispatch starts the calls that are due and for which there is room.
func (p *pass) dispatch(ctx context.Context) {
	now := time.Now()
	for k, r := range p.retries {
		if !r.at.IsZero() && !now.Before(r.at) {
			r.at = time.Time{}
			p.enqueue(k, mark{}, false)
		}
	}
	if p.suspicious && p.full == nil && !now.Before(p.suspectAt) {
		p.startFull()
		p.full.suspected = true
	}
	if p.paced() && len(p.relist)+len(p.urgent)+len(p.bulk) > 0 && now.Before(p.budget.pause(now)) {
		return
	}
	for _, kind := range listedKinds {
		if _, ok := p.relist[kind]; ok && p.listing[kind] == nil && !now.Before(p.listDue(kind)) {
			delete(p.relist, kind)
			l := &listing{begin: now, touched: map[string]bool{}}
			for k := range p.flying {
				if k.kind == kind {
					l.touched[k.id] = true
				}
			}
			p.listing[kind] = l
			p.calls.Go(func() {
				r := p.src.list(ctx, p.cli, kind)
				select {
				case p.lists <- r:
				case <-ctx.Done():
				}
			})
		}
	}
	for len(p.flying) < p.src.opts.Parallel {
		k, m, ok := p.dequeue()
		if !ok {
			break
		}
		p.flying[k] = m
		if l := p.listing[k.kind]; l != nil {
			l.touched[k.id] = true
		}
		p.calls.Go(func() {
			r := p.src.lookup(ctx, p.cli, k)
			select {
			case p.lookups <- r:
			case <-ctx.Done():
			}
		})
	}
}

// paced tells whether the budget counts: not in a full sync that somebody may be waiting
// for.
func (p *pass) paced() bool {
	return p.full == nil || p.full.suspected && !p.renew
}

// paceLists decides when a kind may be listed again that has just been listed.
func (p *pass) paceLists(kind state.Kind, now time.Time, took time.Duration) {
	p.notYet[kind] = now.Add(min((listShare-1)*took, maxListWait))
	p.idle[kind] = now.Add(max(minIdleWait, min((idleShare-1)*took, maxIdleWait)))
}

// listDue returns when a kind may be listed again.
func (p *pass) listDue(kind state.Kind) time.Time {
	if !p.relist[kind] {
		return p.idle[kind]
	}
	return p.notYet[kind]
}

// nextTimer returns when something is due that nothing else will announce.
func (p *pass) nextTimer() (at time.Time, ok bool) {
	due := func(t time.Time) {
		if !t.IsZero() && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	if p.paced() && len(p.relist)+len(p.urgent)+len(p.bulk) > 0 {
		due(p.budget.until)
	}
	for kind := range p.relist {
		if p.listing[kind] == nil {
			due(later(p.listDue(kind), p.budget.until))
		}
	}
	for _, r := range p.retries {
		due(r.at)
	}
	if p.suspicious && p.full == nil {
		due(p.suspectAt)
	}
	return at, ok
}

// notListed has a kind listed again after a wait, or returns why the pass must end.
func (p *pass) notListed(r listResult) error {
	delete(p.listing, r.kind)
	var refusal *endpoint.StatusError
	if !errors.As(r.err, &refusal) || p.refused[r.kind] == maxRefusals {
		return fmt.Errorf("list the %s: %w", r.kind, r.err)
	}
	p.notYet[r.kind] = time.Now().Add(retryWait)
	p.refused[r.kind]++
	p.relist[r.kind] = true
	return nil
}

// listed takes in a list.
func (p *pass) listed(r listResult) {
	s, l := p.src, p.listing[r.kind]
	delete(p.listing, r.kind)
	delete(p.refused, r.kind)
	took := time.Since(l.begin)
	p.paceLists(r.kind, time.Now(), took)

	c := Change{Kind: r.kind, Objects: r.objects, Replace: true, Except: l.touched, Listed: true}
	var details []key
	switch r.kind {
	case state.Containers:
		for _, o := range r.objects {
			details = append(details, key{r.kind, o.(state.Container).ID})
		}
	case state.Networks:
		for i, o := range r.objects {
			if n := o.(state.Network); p.podman && n.Name == podmanDefault {
				n.CreatedAt = time.Time{}
				r.objects[i] = n
			}
		}
	case state.Images:
		// Lookups bring nothing of an image that the list could contradict.
		c.Except = nil
		c.Objects, details = s.knowImages(r.objects)
	}
	s.out.add(c)
	for _, k := range details {
		p.await(k)
		p.enqueue(k, mark{}, false)
	}
	if r.kind != state.Images {
		for id := range l.touched {
			k := key{r.kind, id}
			p.await(k)
			p.enqueue(k, mark{}, true)
		}
	}
	if p.full != nil && p.full.lists[r.kind] {
		delete(p.full.lists, r.kind)
		if len(p.full.lists) == 0 && s.sync.Status != state.True {
			s.out.add(Change{Kind: state.Namespaces, Objects: []any{state.Namespace{Name: s.opts.Namespace}}, Replace: true})
			s.setSync(state.False, state.ReasonListed, "details are coming")
			s.emitSync()
		}
	}
}

// await has the full sync under way wait for an object that is about to be looked up.
func (p *pass) await(k key) {
	if p.full == nil {
		return
	}
	p.full.keys[k] = 1
	if _, ok := p.flying[k]; ok {
		p.full.keys[k] = 2
	}
}

// lookedUp takes in an inspection.
func (p *pass) lookedUp(r lookupResult) {
	m := p.flying[r.key]
	delete(p.flying, r.key)
	switch {
	case r.err != nil:
		p.failed(r)
		// Remember what the mark said for the time when it succeeds.
		if m.gone {
			p.again[r.key] = m
		}
	case passing(r.object, p.retries[r.key]):
		p.retryLater(r.key)
		p.emitLookup(r, m)
	default:
		delete(p.retries, r.key)
		p.emitLookup(r, m)
	}
	if p.full != nil && p.full.keys[r.key] > 0 {
		p.full.keys[r.key]--
		if r.err != nil {
			p.full.failed++
		}
		if r.err != nil || p.full.keys[r.key] == 0 {
			delete(p.full.keys, r.key)
		}
	}
	if again, ok := p.again[r.key]; ok && r.err == nil {
		delete(p.again, r.key)
		p.enqueue(r.key, again, true)
	}
}

func (p *pass) emitLookup(r lookupResult, m mark) {
	s := p.src
	if r.key.kind == state.Images {
		known := s.images[r.key.id]
		if r.image == nil || known == nil {
			return // whether it is there, the list says
		}
		known.details = r.image
		s.out.add(Change{Kind: state.Images, Objects: []any{known.object()}})
		return
	}
	c := Change{Kind: r.key.kind}
	if r.object == nil || m.gone && r.key.kind == state.Volumes {
		c.Gone = []string{r.key.id}
	}
	if r.object != nil {
		c.Objects = []any{r.object}
	}
	s.out.add(c)
}

// passing tells whether an object is in a state that ends by itself, and not always
// with an event: moby tells nobody when it gives up restarting a container, or starting one
// that has an address already. So far it was looked up again as the retry says.
func passing(object any, so *retry) bool {
	c, ok := object.(state.Container)
	if !ok {
		return false
	}
	switch c.State {
	case state.StateRestarting, state.StateRemoving:
		return true
	case state.StateCreated, state.StateExited:
		// Some keep it: moby 20.10 forgets to take it from a container that can't be linked.
		return (so == nil || so.wait < maxStartWait) &&
			slices.ContainsFunc(c.Networks, func(n state.Attachment) bool { return n.IPAddress != "" })
	}
	return false
}

// failed has a failed inspection tried again later. It does not hold up the sync:
// one object that the engine can't show must not hide all the others.
func (p *pass) failed(r lookupResult) {
	if p.retries[r.key] == nil {
		p.src.opts.Log.Warn("object can't be inspected", "kind", r.key.kind, "id", r.key.id, "error", r.err)
	}
	p.retryLater(r.key)
}

// retryLater has an object looked up again after a wait that grows from time to time.
func (p *pass) retryLater(k key) {
	t := p.retries[k]
	if t == nil {
		t = &retry{wait: retryWait}
		p.retries[k] = t
	}
	t.at = time.Now().Add(jitter(t.wait, 5))
	t.wait = min(2*t.wait, maxRetryWait)
}

// settle notes when the full sync is complete.
func (p *pass) settle() {
	if p.full == nil || len(p.full.lists)+len(p.full.keys) > 0 {
		return
	}
	s := p.src
	message := ""
	if p.full.failed > 0 {
		message = fmt.Sprintf("%d objects could not be inspected and are tried again", p.full.failed)
	}
	p.ended = time.Now()
	p.cost = p.ended.Sub(p.full.begin)
	if !p.paced() {
		p.budget.fill(p.ended)
	}
	p.full = nil
	p.synced = true
	s.sync.SyncedAt = p.ended.UTC()
	s.sync.Resyncs++
	s.setSync(state.True, state.ReasonSynced, message)
	s.emitSync()
}
