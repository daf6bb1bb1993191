package supervisor

import (
	"context"
	"log/slog"
	"time"

	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// mirrorRun is the mirror as the loop sees it. It begins when the engine first answers and
// lasts until the stop, also while the engine is away.
type mirrorRun struct {
	source   *mirror.Source // nil before it begins
	executor *requests.Executor
	end      context.CancelFunc
	synced   state.Condition

	// Nil before the mirror begins and after it has ended, so that nothing arrives late.
	updates <-chan mirror.Update
	results <-chan func()
}

// mirrorEngine begins to mirror the engine and to execute requests. If it did before, it only
// wakes the source.
func (l *loop) mirrorEngine() {
	m := &l.mirror
	if m.source != nil {
		m.source.Wake()
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	log := l.log.With("part", "mirror")
	m.end = cancel
	m.source = mirror.NewSource(l.sourceOptions(log))
	m.executor = requests.NewExecutor(l.inst.Paths.RequestsDir(), l.store, l.connectEngine, m.source, log)
	m.updates, m.results = m.source.Updates(), m.executor.Results()
	l.workers.Go(func() { _ = m.source.Run(ctx) })
	for _, r := range l.early {
		m.executor.Accept(r)
	}
	l.early = nil
}

// sshPause is the longest pause between attempts to reach an engine over ssh: each is a login there.
const sshPause = 10 * time.Second

func (l *loop) sourceOptions(log *slog.Logger) mirror.SourceOptions {
	o := mirror.SourceOptions{
		Connect:     l.connectEngine,
		Resync:      time.Duration(l.inst.Settings.Resync),
		PingTimeout: l.engine.patience,
		Log:         log,
	}
	if ep, err := l.driver.Endpoint(); err == nil && ep.Scheme() == "ssh" {
		o.MaxBackoff = sshPause
	}
	return o
}

// connectEngine connects to the engine.
func (l *loop) connectEngine() (mirror.Engine, error) {
	c := l.inst.Connector(l.driver.Endpoint)
	c.Host, _ = l.driver.(mirror.Host)
	return c.Connect()
}

// applyUpdate takes in an update of the source.
func (l *loop) applyUpdate(u mirror.Update) {
	l.mirror.executor.Observe(u, l.store.Apply(u))
	if s := u.Sync; s != nil {
		l.mirror.synced = state.Condition{Type: state.MirrorSynced, Status: s.Status, Reason: s.Reason, Message: s.Message}
	}
}

// disconnect records that the engine is not mirrored, and why.
func (l *loop) disconnect(why string) {
	l.store.Disconnect(why)
	l.mirror.synced = state.Condition{Type: state.MirrorSynced, Status: state.False, Reason: state.ReasonDisconnected, Message: why}
}

// endMirror ends the mirror and the requests, and waits for them.
func (l *loop) endMirror() {
	m := &l.mirror
	if m.source == nil {
		return
	}
	m.end()
	m.updates, m.results = nil, nil
	m.executor.Close()
}

// dropRequests drops the requests that are pending: their engine is being stopped.
func (l *loop) dropRequests() {
	if l.file.gone {
		return // they are another instance's
	}
	if err := requests.Drop(l.inst.Paths.RequestsDir()); err != nil {
		l.log.Error("requests not dropped", "part", "mirror", "error", err)
	}
}
