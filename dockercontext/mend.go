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
	failed := func(err error) Outcome {
		return Outcome{Reason: ReasonFailed, Err: err, Message: fmt.Sprintf("The current context can't be mended: %v.", err)}
	}
	if err := configfile.Recover(ctx, c.file()); err != nil {
		return failed(err)
	}
	nothing := Outcome{Reason: ReasonNotApplicable, Message: "There is nothing to mend."}
	r, err := c.readRecord()
	if errors.Is(err, errRecord) {
		return nothing // a promotion replaces it, the doctor reports it
	}
	if err != nil {
		return failed(err)
	}
	if len(r.Promoted) == 0 && len(r.Demoted) == 0 {
		return nothing
	}
	stored, err := c.Current()
	if err != nil {
		return failed(err)
	}
	owner, promoted := byContext(r.Promoted, stored)
	if !promoted {
		if late, ok := byContext(r.Demoted, stored); ok && !c.exists(stored) {
			owner = late
		} else if len(r.Promoted) > 0 {
			return c.voidLocked(ctx)
		} else {
			return nothing
		}
	} else if !isGone(owner) && c.exists(stored) {
		if len(r.Promoted) > 1 {
			return c.voidLocked(ctx) // killed while one handed over to the other
		}
		return nothing
	}
	healthy := c.healthy(ctx, r.Previous)
	if promoted && !isGone(owner) && c.exists(stored) {
		return nothing // started again during the probe
	}
	out, err := c.replace(context.WithoutCancel(ctx), owner, candidates, r.Previous, healthy)
	if err != nil {
		return failed(err)
	}
	return out
}

// voidLocked voids a record that the current context contradicts, unless it only
// looked so while somebody else was promoting.
func (c *Config) voidLocked(ctx context.Context) Outcome {
	out, err := func() (Outcome, error) {
		unlock, err := c.lock(ctx)
		if err != nil {
			return Outcome{}, err
		}
		defer unlock()
		r, err := c.readRecord()
		if err != nil {
			return Outcome{}, err
		}
		stored, err := c.Current()
		if err != nil {
			return Outcome{}, err
		}
		if _, ok := byContext(r.Promoted, stored); ok && len(r.Promoted) == 1 || len(r.Promoted) == 0 {
			return Outcome{Reason: ReasonNotApplicable, Message: "There is nothing to mend."}, nil
		}
		return c.void(r, stored)
	}()
	if err != nil {
		return Outcome{Reason: ReasonFailed, Err: err, Message: fmt.Sprintf("The current context can't be mended: %v.", err)}
	}
	return out
}
