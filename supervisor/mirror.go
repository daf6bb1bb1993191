package supervisor

import (
	"context"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// lostAfter is how long an engine that is not ours may be away before the current
// context is handed back.
const lostAfter = 30 * time.Second

// mirrorRun is the mirror as the loop sees it. It begins when the engine answers for
// the first time and lasts until the stop, also while the engine is away.
type mirrorRun struct {
	source   *mirror.Source // nil before it begins
	executor *requests.Executor
	end      context.CancelFunc

	// Nil before the mirror begins, and again when it has ended, so that nothing
	// arrives late.
	updates  <-chan mirror.Update
	requests <-chan requests.Request
	results  <-chan requests.Result
}

// watch begins to mirror the engine and to do what requests ask for; where that goes
// on already, it looks at the engine anew.
func (l *loop) watch() {
	m := &l.mirror
	if m.source != nil {
		m.source.Wake()
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	log := l.log.With("part", "mirror")
	m.end = cancel
	m.source = mirror.NewSource(mirror.SourceOptions{
		Connect: l.dial,
		Resync:  time.Duration(l.inst.Settings.Resync),
		CPUTime: process.CPUTime,
		Log:     log,
	})
	inbox := requests.NewInbox(l.inst.Paths.RequestsDir(), log)
	m.executor = requests.NewExecutor(l.inst.Paths.RequestsDir(), l.store, l.dial, m.source, log)
	m.updates, m.requests, m.results = m.source.Updates(), inbox.Requests(), m.executor.Results()
	l.workers.Go(func() { _ = m.source.Run(ctx) })
	l.workers.Go(func() { _ = inbox.Run(ctx) })
}

func (l *loop) dial(context.Context) (*endpoint.Client, error) {
	ep, err := l.driver.Endpoint()
	if err != nil {
		return nil, err
	}
	return ep.Client()
}

// updated takes in what the source learned.
func (l *loop) updated(u mirror.Update) {
	was, _ := l.store.Condition(state.MirrorSynced)
	l.store.Apply(u)
	l.mirror.executor.Observe(u)
	if u.Sync == nil {
		return
	}
	if u.Sync.Reason != was.Reason {
		l.log.Info("condition", "type", state.MirrorSynced, "status", u.Sync.Status, "reason", u.Sync.Reason, "message", u.Sync.Message)
	}
	switch {
	case u.Sync.Connected:
		l.engineAnswers()
	case u.Sync.Reason == state.ReasonDisconnected && l.engine.running != nil:
		l.checkEngine()
	}
}

// endMirror ends the mirroring and the requests. Those that are not decided are
// dropped: they were for an engine that is being stopped.
func (l *loop) endMirror() {
	m := &l.mirror
	if m.source == nil {
		return
	}
	m.end()
	m.updates, m.requests, m.results = nil, nil, nil
	m.executor.Close()
	if err := m.executor.Drop(); err != nil {
		l.log.Error("requests not dropped", "part", "mirror", "error", err)
	}
}
