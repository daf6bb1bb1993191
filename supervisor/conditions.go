package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// publish computes the conditions from the phases, at the end of a turn. The loop never
// reads them: they are for others.
func (l *loop) publish() {
	now := []state.Condition{l.engineReady(), l.contextReady(), l.contextPromoted(), l.mirror.synced, l.socketClaimed()}
	for _, c := range append([]state.Condition{l.ready(now)}, now...) {
		was := l.published[c.Type]
		if was == c {
			continue
		}
		if c.Type != state.Ready && (was.Status != c.Status || was.Reason != c.Reason) {
			l.log.Log(context.Background(), level(c), "condition", "type", c.Type, "status", c.Status, "reason", c.Reason, "message", c.Message)
		}
		l.published[c.Type] = c
		l.store.SetCondition(c.Type, c.Status, c.Reason, c.Message)
	}
}

func level(c state.Condition) slog.Level {
	switch c.Reason {
	case state.ReasonCrashLoop, state.ReasonExited, state.ReasonFailed:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// ready sums up the other conditions. The first that is not settled is the reason.
func (l *loop) ready(others []state.Condition) state.Condition {
	if l.stop != nil {
		return state.Condition{Type: state.Ready, Status: state.False, Reason: state.ReasonStopped}
	}
	was := l.published[state.Ready].Status
	for _, c := range others {
		// What becomes of the default socket later, by hand, is nothing that a start waits for.
		if !settled(c) && (c.Type != state.SocketClaimed || was != state.True) {
			return state.Condition{Type: state.Ready, Status: state.False, Reason: c.Reason, Message: c.Message}
		}
	}
	return state.Condition{Type: state.Ready, Status: state.True, Reason: state.ReasonUsable}
}

// settled reports whether a start need not wait for the condition any longer.
func settled(c state.Condition) bool {
	switch c.Type {
	case state.ContextReady, state.ContextPromoted, state.SocketClaimed:
		return c.Status != state.Unknown // decided, one way or the other
	}
	return c.Status == state.True
}

// conditionOf returns a constructor of conditions of one type.
func conditionOf(typ string) func(status state.Status, reason state.Reason, message string) state.Condition {
	return func(status state.Status, reason state.Reason, message string) state.Condition {
		return state.Condition{Type: typ, Status: status, Reason: reason, Message: message}
	}
}

func (l *loop) engineReady() state.Condition {
	e := &l.engine
	is := conditionOf(state.EngineReady)
	switch e.phase {
	case engineUp, engineDoubted:
		return is(state.True, state.ReasonConnected, l.problems())
	case engineLost, engineAway:
		if e.reason == state.ReasonUnresponsive {
			return is(state.Unknown, e.reason, e.message)
		}
		return is(state.False, e.reason, e.message)
	case engineDown, engineLooping:
		return is(state.False, e.reason, e.message)
	case engineStopping, engineEnded:
		switch {
		case l.stop.err != nil:
			return is(state.False, state.ReasonFailed, l.stop.err.Error())
		case l.stop.failure != nil:
			return is(state.False, e.reason, e.message)
		case e.phase == engineEnded:
			return is(state.False, state.ReasonStopped, "")
		}
		words := "the engine is being stopped"
		switch grace := l.stop.grace; {
		case grace >= requests.Forever:
			words += "; a container may take as long as it likes"
		case grace > defaultGrace:
			words += fmt.Sprintf("; its containers may take up to %s", grace)
		}
		return is(state.False, state.ReasonStopped, words)
	}
	return is(state.False, state.ReasonStarting, "the engine is starting")
}

// problems returns what does not work of the running engine.
func (l *loop) problems() string {
	var words []string
	for _, p := range l.engine.problems {
		if p.Port == "" || l.store.Publishes(p.Port, p.Since) {
			words = append(words, p.Words)
		}
	}
	return strings.Join(words, "; ")
}

// noContext returns a condition of the instance's own context where there is none.
func (l *loop) noContext(typ string, status state.Status) state.Condition {
	why := "the context is the user's own"
	if l.inst.Context() == "" {
		why = "docker can't use a containerd"
	}
	return conditionOf(typ)(status, state.ReasonNotApplicable, why)
}

func (l *loop) contextReady() state.Condition {
	c := &l.context
	is := conditionOf(state.ContextReady)
	switch {
	case c.phase == contextForeign:
		return l.noContext(state.ContextReady, state.True)
	case c.ready.Reason == "":
		return is(state.Unknown, state.ReasonStarting, "the context is made when the engine answers")
	case c.ready.Reason == state.ReasonAlreadyCurrent: // not removed: the user has chosen it
		return is(state.True, state.ReasonCreated, c.ready.Message)
	}
	return is(c.ready.Status(state.ContextReady), c.ready.Reason, c.ready.Message)
}

func (l *loop) contextPromoted() state.Condition {
	c := &l.context
	is := conditionOf(state.ContextPromoted)
	switch {
	case c.phase == contextForeign:
		return l.noContext(state.ContextPromoted, state.False)
	case c.phase < contextDecided || c.promoted.Reason == "":
		return is(state.Unknown, state.ReasonProbing, "the current context is being probed")
	}
	return is(c.promoted.Status(state.ContextPromoted), c.promoted.Reason, c.promoted.Message)
}

func (l *loop) socketClaimed() state.Condition {
	c := &l.context
	is := conditionOf(state.SocketClaimed)
	switch {
	case c.phase == contextForeign:
		return l.noContext(state.SocketClaimed, state.False)
	case c.claimed.Reason != "":
		return is(c.claimed.Status(state.SocketClaimed), c.claimed.Reason, c.claimed.Message)
	case c.phase < contextDecided || c.isCurrent():
		return is(state.Unknown, state.ReasonProbing, "it is claimed with the promotion")
	case l.inst.Settings.Promote == dockercontext.PromoteNever:
		return is(state.False, state.ReasonNotRequested, "the default socket is left as it is, as asked")
	}
	return is(state.False, state.ReasonNotApplicable, "the context is not the current one")
}
