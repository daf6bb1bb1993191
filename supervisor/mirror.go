package supervisor

import (
	"context"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// lostAfter is how long an engine that is not ours may be away before the current
// context is handed back.
const lostAfter = 30 * time.Second

// mirrorRun is the mirror as the loop sees it.
type mirrorRun struct {
	source  *mirror.Source // nil while the engine does not answer
	updates <-chan mirror.Update
	end     context.CancelFunc
}

// watch mirrors the engine as long as its session lasts. Each session has a source
// and a channel of its own, so that nothing of an earlier engine arrives later.
func (l *loop) watch() {
	src := mirror.NewSource(mirror.SourceOptions{
		Connect: l.dial,
		Resync:  time.Duration(l.inst.Settings.Resync),
		Log:     l.log.With("part", "mirror"),
	})
	ctx, cancel := context.WithCancel(l.engine.session)
	l.mirror = mirrorRun{source: src, updates: src.Updates(), end: cancel}
	l.beside.Go(func() { _ = src.Run(ctx) })
}

func (l *loop) dial(context.Context) (*client.Client, error) {
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
	if u.Sync == nil {
		return
	}
	if u.Sync.Reason != was.Reason {
		l.log.Info("condition", "type", state.MirrorSynced, "status", u.Sync.Status, "reason", u.Sync.Reason, "message", u.Sync.Message)
	}
	switch {
	case u.Sync.Connected:
		l.engineAnswers()
	case u.Sync.Reason == state.ReasonDisconnected:
		l.checkEngine()
	}
}

// mirrorLost ends the mirroring of an engine that is gone. The objects stay: they are
// what was last known.
func (l *loop) mirrorLost() {
	if l.mirror.end != nil {
		l.mirror.end()
	}
	l.mirror = mirrorRun{}
	l.store.Apply(mirror.Update{Sync: &mirror.Sync{
		Status: state.False, Reason: state.ReasonDisconnected, Message: "the engine is not there",
	}})
}
