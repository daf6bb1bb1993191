package dockercontext

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
)

// Mend puts right what a killed process or a late writer left: an edit of config.json
// that was not finished, a promotion whose engine is gone for good, a current context
// of ours that does not exist any more. Where there is nothing to do, that takes a few
// reads.
//
// isGone tells whether an owner's engine is down and nobody is going to start it
// again; an engine that is starting, restarting or unresponsive is not gone. It is
// also asked for owners that no instance has any more. candidates are as for
// [Config.Demote].
//
// The outcome's reason is Demoted where something was handed back, ChangedByUser where
// a record was voided, Failed, or NotApplicable.
func (c *Config) Mend(ctx context.Context, isGone func(Owner) bool, candidates func() []Owner) Outcome {
	out, err := c.mend(ctx, isGone, candidates)
	if err != nil {
		return Outcome{Reason: ReasonFailed, Err: err, Message: fmt.Sprintf("The current context can't be mended: %v.", err)}
	}
	return out
}

var nothingToMend = Outcome{Reason: ReasonNotApplicable, Message: "There is nothing to mend."}

func (c *Config) mend(ctx context.Context, isGone func(Owner) bool, candidates func() []Owner) (Outcome, error) {
	if err := configfile.Recover(ctx, c.file()); err != nil {
		return Outcome{}, err
	}
	r, err := c.readRecord()
	if errors.Is(err, errRecord) {
		return nothingToMend, nil // a promotion replaces it, the doctor reports it
	}
	if err != nil {
		return Outcome{}, err
	}
	if len(r.Promoted) == 0 && len(r.Demoted) == 0 {
		return nothingToMend, nil
	}
	stored, err := c.Current()
	if err != nil {
		return Outcome{}, err
	}
	owner, promoted := byContext(r.Promoted, stored)
	works := func() bool { return promoted && !isGone(owner) && c.exists(stored) }
	switch late, ok := byContext(r.Demoted, stored); {
	case works():
		if len(r.Promoted) > 1 {
			return c.voidContradicted(ctx) // killed while one handed over to the other
		}
		return nothingToMend, nil
	case promoted: // and its engine is gone
	case ok && !c.exists(stored): // a late writer has put it back
		owner = late
	case len(r.Promoted) > 0:
		return c.voidContradicted(ctx)
	default:
		return nothingToMend, nil
	}
	healthy := c.healthy(ctx, r.Previous)
	if works() {
		return nothingToMend, nil // started again during the probe
	}
	return c.replace(context.WithoutCancel(ctx), owner, candidates, r.Previous, healthy)
}

// voidContradicted voids a record that the current context contradicts, unless it only
// looked so while somebody else was promoting.
func (c *Config) voidContradicted(ctx context.Context) (Outcome, error) {
	return c.locked(ctx, func(r record, stored string) (Outcome, error) {
		if _, ok := byContext(r.Promoted, stored); ok && len(r.Promoted) == 1 || len(r.Promoted) == 0 {
			return nothingToMend, nil
		}
		return c.void(r, stored)
	})
}
