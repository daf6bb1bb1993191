package supervisor

import (
	"errors"
	"testing"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A look at a context that docker is just writing, in two steps, fails; the next one counts again.
// Why it could not be made stays.
func TestSeeAfterFailure(t *testing.T) {
	failed := dockercontext.Outcome{Reason: state.ReasonFailed, Err: errors.New("unexpected end of JSON input")}
	led := dockercontext.Outcome{Reason: state.ReasonLedElsewhere}
	c := contextRun{phase: contextMade, ready: dockercontext.Outcome{Reason: state.ReasonCreated}}
	for _, seen := range []dockercontext.Outcome{failed, led} {
		c.see(contextSeen{ready: seen})
		if c.ready.Reason != seen.Reason {
			t.Errorf("after a look that saw %s it is %s", seen.Reason, c.ready.Reason)
		}
	}
	c = contextRun{phase: contextMade, ready: failed, unmade: true}
	c.see(contextSeen{ready: led})
	if c.ready.Reason != state.ReasonFailed {
		t.Errorf("why it could not be made is %s after a look", c.ready.Reason)
	}
	// Once somebody has made it, the promotion is decided as after a start.
	made := dockercontext.Outcome{Reason: state.ReasonCreated}
	c.phase, c.judgement = contextDecided, &dockercontext.Judgement{}
	if !c.see(contextSeen{ready: made}) || c.ready.Reason != state.ReasonCreated || c.phase != contextMade || c.judgement != nil {
		t.Errorf("after it was made it is %s, in phase %d", c.ready.Reason, c.phase)
	}
	c.phase = contextDecided
	if c.see(contextSeen{ready: made}) {
		t.Error("its promotion is decided anew for a look that saw nothing new")
	}
}

// What a look at the context finds during an operation is the operation's own doing, or is seen
// again after it: until then it says nothing.
func TestLookDuringOperation(t *testing.T) {
	for _, phase := range []contextPhase{contextMaking, contextPromoting, contextClaiming, contextGivingBack, contextHandingBack, contextRemoving} {
		c := contextRun{phase: phase, promoted: dockercontext.Outcome{Reason: state.ReasonPromoted}}
		c.see(contextSeen{promoted: dockercontext.Outcome{Reason: state.ReasonDemoted}})
		if !c.missed || c.promoted.Reason != state.ReasonPromoted {
			t.Errorf("phase %d: it says %+v, and another look follows: %v", phase, c.promoted, c.missed)
		}
	}
}
