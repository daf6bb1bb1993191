package supervisor

import (
	"context"
	"path/filepath"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// contextRun is the instance's Docker context as the loop sees it.
type contextRun struct {
	judgement *dockercontext.Judgement // of the current context; nil while it is probed
	making    bool                     // it is being made
	made      bool                     // it is there and ours
	promoting bool
}

// beginContext says what becomes of the context, and judges the current one.
func (l *loop) beginContext() {
	if !l.inst.OwnsContext() {
		l.set(state.ContextReady, state.True, state.ReasonNotApplicable, "the context is the user's own")
		l.set(state.ContextPromoted, state.False, state.ReasonNotApplicable, "the context is the user's own")
		return
	}
	l.set(state.ContextReady, state.Unknown, state.ReasonStarting, "the context is made when the engine answers")
	l.judgeCurrent()
}

// judgeCurrent probes the current context, unless nothing depends on it.
func (l *loop) judgeCurrent() {
	owner, policy := contexts.Owner(l.inst), dockercontext.Policy(l.inst.Settings.Promote)
	if owner.Context == "" {
		return
	}
	l.set(state.ContextPromoted, state.Unknown, state.ReasonProbing, "the current context is being probed")
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, dockercontext.DefaultTimeout)
		defer cancel()
		j := l.docker.Judge(ctx, owner, policy)
		return func() {
			l.context.judgement = &j
			l.promote()
		}
	})
}

// makeContext makes the instance's context, once the engine answers. Later it is left
// as it is: if the user removed it, it stays removed until the next start.
func (l *loop) makeContext() {
	owner := contexts.Owner(l.inst)
	if c, _ := l.store.Condition(state.ContextReady); owner.Context == "" || l.context.making || c.Status != state.Unknown {
		return
	}
	ep, err := l.driver.Endpoint()
	if err != nil {
		l.set(state.ContextReady, state.False, state.ReasonFailed, err.Error())
		l.promote()
		return
	}
	l.context.making = true
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
		defer cancel()
		out := l.docker.Create(ctx, owner, ep, contexts.Description(l.inst))
		return func() {
			l.context.making = false
			if l.stopping != nil {
				l.stopped() // which waited for it: a context must not come after its end
				return
			}
			l.set(state.ContextReady, state.Status(dockercontext.ReadyStatus(out.Reason)), out.Reason, out.Message)
			l.context.made = out.Reason == dockercontext.ReasonCreated
			l.promote()
			l.watchContext()
		}
	})
}

// watchContext follows what becomes of the context and of the current one. Where the
// system's watches are used up, that is seen at the next start.
func (l *loop) watchContext() {
	dir := l.docker.Dir()
	watch, err := dirwatch.New(dir, filepath.Join(dir, "contexts", "meta"))
	if err != nil {
		l.log.Warn("context is not watched", "part", "context", "error", err)
		return
	}
	context.AfterFunc(l.ctx, watch.Close)
	l.awaitContext(watch)
}

func (l *loop) awaitContext(watch *dirwatch.Watcher) {
	l.beside(l.ctx, func(ctx context.Context) func() {
		if err := watch.Wait(ctx); err != nil {
			return func() {}
		}
		// Where the user has chosen another context, this voids the record: if he comes back
		// to ours later, that is his choice. Where he has removed ours while it was current,
		// another becomes current.
		mended := l.docker.Mend(ctx)
		ready, promoted := l.docker.Ready(contexts.Owner(l.inst)), l.docker.Promoted(ctx, contexts.Owner(l.inst))
		return func() {
			if mended.Err != nil {
				l.log.Warn("current context not looked after", "part", "context", "error", mended.Err)
			}
			if l.stopping != nil {
				return
			}
			l.contextSeen(ready, promoted)
			l.awaitContext(watch)
		}
	})
}

// contextSeen takes in what somebody else may have made of the context.
func (l *loop) contextSeen(ready, promoted dockercontext.Outcome) {
	was, _ := l.store.Condition(state.ContextReady)
	if was.Reason == state.ReasonCreated || was.Reason == state.ReasonRemoved {
		if ready.Reason != was.Reason {
			l.set(state.ContextReady, state.Status(dockercontext.ReadyStatus(ready.Reason)), ready.Reason, ready.Message)
		}
	}
	was, _ = l.store.Condition(state.ContextPromoted)
	status := state.Status(dockercontext.PromotedStatus(promoted.Reason))
	again := was.Reason == state.ReasonChangedByUser && promoted.Reason == state.ReasonChangedByUser // to another
	if l.context.promoting || was.Status == state.Unknown || status == was.Status && !again || promoted.Err != nil {
		return
	}
	if was.Reason == state.ReasonAlreadyCurrent {
		promoted.Reason = state.ReasonChangedByUser // a choice that was not ours is not ours to end
	}
	l.setPromoted(promoted)
}

// promote makes the context current, if that is asked for and as soon as all that it
// depends on is known: the engine answers, the context is there, the current one is
// judged.
func (l *loop) promote() {
	c := &l.context
	ready, _ := l.store.Condition(state.ContextReady)
	was, _ := l.store.Condition(state.ContextPromoted)
	if !l.usable.Load() || c.judgement == nil || c.promoting || was.Status != state.Unknown || ready.Status == state.Unknown {
		return
	}
	if !c.made {
		l.set(state.ContextPromoted, state.False, state.ReasonNotApplicable, "there is no context to make current")
		return
	}
	c.promoting = true
	judgement := *c.judgement
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
		defer cancel()
		out := l.docker.Promote(ctx, judgement, contexts.Owner(l.inst), dockercontext.PromoteOptions{
			Policy: dockercontext.Policy(l.inst.Settings.Promote),
		})
		if out.Reason == dockercontext.ReasonAlreadyCurrent {
			// By our doing, if that was before a restart.
			if now := l.docker.Promoted(ctx, contexts.Owner(l.inst)); now.Reason == dockercontext.ReasonPromoted {
				out = now
			}
		}
		return func() {
			c.promoting = false
			if l.stopping == nil { // otherwise the hand-back has the last word
				l.setPromoted(out)
				if out.Reason == dockercontext.ReasonPromoted && judgement.Report.Health == dockercontext.Broken {
					l.reconsider(judgement.Stored)
				}
			}
		}
	})
}

// reconsider goes on looking for a while at the context that ours has replaced: an engine
// that its owner restarts is away for a moment only.
func (l *loop) reconsider(replaced string) {
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, dockercontext.RestartTime)
		defer cancel()
		out := l.docker.Reconsider(ctx, contexts.Owner(l.inst), replaced)
		return func() {
			if out.Err != nil {
				l.log.Warn("replaced context not put back", "part", "context", "error", out.Err)
			}
			if out.Changed && l.stopping == nil {
				l.setPromoted(out)
			}
		}
	})
}

func (l *loop) setPromoted(out dockercontext.Outcome) {
	l.set(state.ContextPromoted, state.Status(dockercontext.PromotedStatus(out.Reason)), out.Reason, out.Message)
}

// handBack puts another context in the place of ours, if ours is current by our doing, and
// then calls then. The caller has made usable false: promotions look at that under the lock
// under which this is done, so that none can come afterwards.
func (l *loop) handBack(then func()) {
	owner := contexts.Owner(l.inst)
	if owner.Context == "" {
		then()
		return
	}
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
		defer cancel()
		out := l.docker.Demote(ctx, owner)
		return func() {
			if out.Err != nil {
				l.log.Error("current context not handed back", "part", "context", "error", out.Err)
			}
			l.setPromoted(out)
			then()
		}
	})
}
