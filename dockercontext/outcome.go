package dockercontext

import (
	"fmt"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Outcome is what a method has found and done.
type Outcome struct {
	// Reason is the one for the condition concerned: ContextReady, ContextPromoted or SocketClaimed.
	Reason state.Reason `json:"reason"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// Changed says that something was changed, or would be on a dry run.
	Changed bool `json:"changed"`
	DryRun  bool `json:"dryRun,omitempty"`
	// Previous and Current are the stored current context before and now, by name.
	Previous string `json:"previous,omitempty"`
	Current  string `json:"current,omitempty"`
	// EnvOverride is the environment variable that overrides Current in this shell, or "".
	EnvOverride string `json:"envOverride,omitempty"`
	// Err is the cause if Reason is Failed or ConfigReadOnly.
	Err error `json:"-"`
}

// outcome returns an outcome with a sentence.
func outcome(reason state.Reason, format string, args ...any) Outcome {
	return Outcome{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// failed returns the outcome after an error, which ends the sentence.
func failed(err error, format string, args ...any) Outcome {
	out := outcome(state.ReasonFailed, format+": %v.", append(args, err)...)
	out.Err = err
	return out
}

// replaced returns the outcome after a change of the current context.
func replaced(reason state.Reason, previous, current, format string, args ...any) Outcome {
	out := outcome(reason, format, args...)
	out.Changed, out.Previous, out.Current = true, previous, current
	return out
}

// at sets the stored current context, which is as before.
func (o Outcome) at(stored string) Outcome {
	o.Previous, o.Current = named(stored), named(stored)
	return o
}

// Status returns the status that the outcome gives the condition of the type.
func (o Outcome) Status(condition string) state.Status {
	switch o.Reason {
	case state.ReasonCreated, state.ReasonPromoted, state.ReasonAlreadyCurrent, state.ReasonClaimed:
		return state.True
	case state.ReasonProbing:
		return state.Unknown
	case state.ReasonNotApplicable:
		if condition == state.ContextReady {
			return state.True
		}
	}
	return state.False
}

// IsCurrent reports whether the context is the current one after a promotion.
func (o Outcome) IsCurrent() bool { return o.Status(state.ContextPromoted) == state.True }
