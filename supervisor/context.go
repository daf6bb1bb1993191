package supervisor

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// contextRun is the instance's own context as the loop sees it.
type contextRun struct {
	phase           contextPhase
	owner           dockercontext.Owner      // the instance, as its owner
	judgement       *dockercontext.Judgement // of the current context; nil while it is probed
	sockets         *claim.Look              // the first look at the default sockets
	ready           dockercontext.Outcome    // of making it, or of a later look; without a Reason until then
	unmade          bool                     // it could not be made
	promoted        dockercontext.Outcome    // of its promotion
	claimed         dockercontext.Outcome    // of claiming the default socket; without a Reason until then
	missed          bool                     // somebody may have changed it during an operation
	replacedAnswers bool                     // the context that it replaced was only away for a moment
}

// busy reports whether an operation is under way.
func (c *contextRun) busy() bool {
	switch c.phase {
	case contextMaking, contextPromoting, contextClaiming, contextGivingBack, contextHandingBack, contextRemoving:
		return true
	}
	return false
}

// isCurrent reports whether the context is the current one, as far as the loop knows.
func (c *contextRun) isCurrent() bool {
	return c.promoted.IsCurrent()
}

// see takes in a look at the context, which somebody may have changed. It reports whether the context
// exists at last, so that its promotion is to be decided.
func (c *contextRun) see(seen contextSeen) (made bool) {
	if c.missed = c.busy(); c.missed {
		return false // it may have been seen before the operation: another look follows
	}
	ready, promoted := seen.ready, seen.promoted
	// Why it could not be made says more than that it does not exist.
	if c.ready.Reason != "" && ready.Reason != c.ready.Reason && (!c.unmade || ready.Reason == state.ReasonCreated) {
		made = c.unmade && c.phase == contextDecided
		c.ready, c.unmade = ready, false
	}
	if made {
		c.phase, c.judgement = contextMade, nil
		return true
	}
	if c.phase != contextDecided && c.phase != contextHandedBack || promoted.Err != nil {
		return false
	}
	again := c.promoted.Reason == state.ReasonChangedByUser && promoted.Reason == state.ReasonChangedByUser // to another
	if promoted.IsCurrent() == c.isCurrent() && !again {
		return false
	}
	if c.promoted.Reason == state.ReasonAlreadyCurrent {
		promoted.Reason = state.ReasonChangedByUser // the choice was never ours
	}
	c.promoted = promoted
	if c.claimed = seen.claimed; c.isCurrent() {
		c.claimed = dockercontext.Outcome{} // try now
	}
	return false
}

// operate starts an operation on the context, with a deadline.
func (l *loop) operate(phase contextPhase, operation func(ctx context.Context) event) {
	l.context.phase = phase
	l.async(l.ctx, func(ctx context.Context) event {
		ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
		defer cancel()
		return operation(ctx)
	})
}

// judgeCurrent probes the current context, unless ours is the user's.
func (l *loop) judgeCurrent() {
	if l.context.phase == contextForeign {
		return
	}
	owner, policy := l.context.owner, l.inst.Settings.Promote
	l.async(l.ctx, func(ctx context.Context) event {
		ctx, cancel := context.WithTimeout(ctx, dockercontext.DefaultTimeout)
		defer cancel()
		return judged{l.docker.Judge(ctx, owner, policy), l.docker.LookAtSockets()}
	})
}

// followElsewhere has the current context judged again when the one that was judged belonged to
// an instance of a docker rd with another home and has gone with it: that one can't hand over
// to this instance.
func (l *loop) followElsewhere() {
	c := &l.context
	if c.phase != contextDecided || c.isCurrent() || c.judgement == nil || !c.judgement.Elsewhere {
		return
	}
	j := *c.judgement
	l.async(l.ctx, func(context.Context) event {
		if l.docker.Gone(j) {
			return judgedGone{}
		}
		return nil
	})
}

// makeContext makes the instance's context. If the user removes it later, it stays removed
// until the next start.
func (l *loop) makeContext() {
	owner := l.context.owner
	l.operate(contextMaking, func(ctx context.Context) event {
		ep, err := l.driver.Endpoint()
		if err != nil {
			return contextCreated{dockercontext.Outcome{Reason: state.ReasonFailed, Message: err.Error(), Err: err}}
		}
		return contextCreated{l.docker.Create(ctx, owner, ep, contexts.Description(l.inst))}
	})
}

// promote makes the context the current one, if the policy and the judgement say so.
func (l *loop) promote() {
	c := &l.context
	if c.ready.Reason != state.ReasonCreated {
		c.phase = contextDecided
		c.promoted = dockercontext.Outcome{Reason: state.ReasonNotApplicable, Message: "there is no context to make current"}
		return
	}
	judgement, owner := *c.judgement, c.owner
	l.operate(contextPromoting, func(ctx context.Context) event {
		out := l.docker.Promote(ctx, judgement, owner, dockercontext.PromoteOptions{
			Policy: l.inst.Settings.Promote,
		})
		if out.Reason == state.ReasonAlreadyCurrent {
			// It may have been promoted before a restart.
			if now := l.docker.Promoted(ctx, owner); now.Reason == state.ReasonPromoted {
				out = now
			}
		}
		return promoted{out}
	})
}

// watchReplaced watches the context that ours has replaced for a while: its engine may only have
// been restarted.
func (l *loop) watchReplaced() {
	judgement := *l.context.judgement
	if judgement.Report.Health != dockercontext.Broken {
		return
	}
	l.async(l.ctx, func(ctx context.Context) event {
		ctx, cancel := context.WithTimeout(ctx, dockercontext.RestartTime)
		defer cancel()
		if !l.docker.AnswersAgain(ctx, judgement.Stored) {
			return nil
		}
		return answersAgain{judgement.Stored}
	})
}

// giveBack puts the replaced context back.
func (l *loop) giveBack() {
	owner, replaced := l.context.owner, l.context.judgement.Stored
	l.operate(contextGivingBack, func(ctx context.Context) event {
		out := l.docker.GiveBack(ctx, owner, replaced)
		l.logFailure("replaced context not put back", out)
		return gaveBack{out}
	})
}

// claim makes the default socket lead to the engine, by the same policy as the promotion. A
// promotion by hand counts as one if broken.
func (l *loop) claim() {
	owner, policy := l.context.owner, l.inst.Settings.Promote
	if l.context.promoted.Reason == state.ReasonPromoted {
		policy = dockercontext.PromoteIfBroken
	}
	first := l.context.sockets
	l.context.sockets = nil
	l.operate(contextClaiming, func(ctx context.Context) event {
		out := l.docker.Claim(ctx, owner, engine.LocalSocket(l.driver), policy, first)
		l.logFailure("default socket not claimed", out)
		return claimed{out}
	})
}

// release gives the default socket back, since the user has chosen another context.
func (l *loop) release() {
	owner := l.context.owner
	l.operate(contextClaiming, func(ctx context.Context) event {
		out := l.docker.Release(ctx, owner)
		l.logFailure("default socket not given back", out)
		if out.Err == nil {
			out = l.docker.Claimed(owner)
		}
		return claimed{out}
	})
}

// watchSocket watches whether the default sockets remain ours: an engine that starts later
// takes them.
func (l *loop) watchSocket() {
	owner := l.context.owner
	l.watch(l.ctx, "default socket", l.docker.SocketDirs, func(send func(event)) (more bool) {
		out := l.docker.Claimed(owner)
		if more = out.Reason == state.ReasonClaimed; !more {
			send(claimSeen{out})
		}
		return more
	})
}

// handBack makes another context current, if ours was promoted. Promotions read usable
// under the same lock, so none can follow.
func (l *loop) handBack() {
	owner, socket := l.context.owner, l.context.claimed
	l.operate(contextHandingBack, func(ctx context.Context) event {
		out := l.docker.Demote(ctx, owner)
		l.logFailure("current context not handed back", out)
		if socket.Reason == state.ReasonClaimed {
			socket = l.docker.Claimed(owner) // given back
		}
		return handedBack{out, socket}
	})
}

// removeContext removes the context, unless the user has made it current.
func (l *loop) removeContext() {
	owner := l.context.owner
	l.operate(contextRemoving, func(ctx context.Context) event {
		for {
			out := l.docker.Remove(ctx, owner)
			l.logFailure("context not removed", out)
			// Another instance that stopped at the same time may have handed over to this one.
			if out.Reason != state.ReasonAlreadyCurrent || !l.docker.Demote(ctx, owner).Changed {
				return contextRemoved{out}
			}
		}
	})
}

// watchContext watches the context and the current one. Its own directory comes and goes with it.
func (l *loop) watchContext() {
	owner := l.context.owner // never changes
	dirs := func() []string { return l.docker.WatchDirs(owner) }
	l.watch(l.ctx, "context", dirs, func(send func(event)) (more bool) {
		send(l.lookAtContext(l.ctx))
		return true
	})
}

// lookAtContext returns how the context, the current one and the default socket are now. If
// the user has chosen another context, it voids the record: a later return to ours is the
// user's choice. If the user has removed ours while it was current, another becomes current.
func (l *loop) lookAtContext(ctx context.Context) event {
	owner := l.context.owner // never changes
	var seen contextSeen
	l.logFailure("current context not looked after", l.docker.Repair(ctx))
	ep, err := l.driver.Endpoint()
	if err != nil {
		ep = endpoint.Endpoint{}
	}
	seen.ready, seen.promoted, seen.claimed = l.docker.Ready(owner, ep), l.docker.Promoted(ctx, owner), l.docker.Claimed(owner)
	return seen
}

// logFailure logs why something could not be done. The end of the loop is no reason.
func (l *loop) logFailure(what string, out dockercontext.Outcome) {
	if out.Err != nil && l.ctx.Err() == nil {
		l.log.Error(what, "part", "context", "error", out.Err)
	}
}
