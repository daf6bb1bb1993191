package dockercontext

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Repair repairs what a killed process or a late writer has left: an unfinished edit of
// config.json, a promotion whose engine is gone for good, a current context of ours that does
// not exist any more, a default socket of an engine that is gone, a record of a context that is
// somebody else's now. With nothing to do, it takes a few reads.
//
// The outcome's reason is Demoted, ChangedByUser if a record was voided, Released if only a
// socket was given back, Failed, or NotApplicable.
func (c *Config) Repair(ctx context.Context) Outcome {
	released := c.releaseGone(ctx)
	out, err := c.repair(ctx)
	if err == nil && !out.Changed && (released.Changed || released.Err != nil) {
		return released
	}
	if err != nil {
		return failed(err, "The current context can't be repaired")
	}
	return out
}

var nothingToRepair = outcome(state.ReasonNotApplicable, "There is nothing to repair.")

func (c *Config) repair(ctx context.Context) (Outcome, error) {
	if err := configfile.Recover(ctx, c.file()); err != nil {
		return Outcome{}, err
	}
	written, err := c.readRecord()
	if isInvalid(err) {
		return nothingToRepair, nil // a promotion replaces it, the doctor reports it
	}
	if err != nil {
		return Outcome{}, err
	}
	if len(written.Promoted) == 0 && len(written.Demoted) == 0 {
		return nothingToRepair, nil
	}
	stored, err := c.Current()
	if err != nil {
		return Outcome{}, err
	}
	r, lost := c.valid(written, stored)
	if lost {
		return c.update(ctx, func(t *tx) (Outcome, error) { // it begins with dropping those parts
			if len(r.Promoted) == len(written.Promoted) {
				return nothingToRepair, nil
			}
			return voided(t.stored.Name), nil
		})
	}
	owner, promoted := byContext(r.Promoted, stored)
	works := func() bool { return promoted && !c.gone(owner) && c.exists(stored) }
	switch late, ok := byContext(r.Demoted, stored); {
	case works():
		if len(r.Promoted) > 1 {
			return c.voidContradicted(ctx) // killed during a handover
		}
		return nothingToRepair, nil
	case promoted: // and its engine is gone
	case ok && !c.exists(stored): // a late writer has put it back
		owner = late
	case len(r.Promoted) > 0:
		return c.voidContradicted(ctx)
	default:
		return nothingToRepair, nil
	}
	s := c.succession(ctx, owner, r.Previous)
	if works() {
		return nothingToRepair, nil // started again during the probe
	}
	return c.demoteTo(ctx, owner, s)
}

// voidContradicted voids a record that the current context contradicts, unless a promotion was
// just in progress.
func (c *Config) voidContradicted(ctx context.Context) (Outcome, error) {
	return c.update(ctx, func(t *tx) (Outcome, error) {
		stored := t.stored.Name
		if _, ok := byContext(t.record.Promoted, stored); ok && len(t.record.Promoted) == 1 || len(t.record.Promoted) == 0 {
			return nothingToRepair, nil
		}
		if t.foreignInstance(stored) {
			// A docker rd with another home has promoted its own. After its demotion ours is
			// current again, and still to be demoted.
			return nothingToRepair, nil
		}
		return t.void()
	})
}

// foreignInstance reports whether a context belongs to an instance with another home.
func (c *Config) foreignInstance(name string) bool {
	owner, marked := c.marked(name)
	return marked && !c.known(owner)
}
