package dockercontext

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Demote puts another context back in place of owner's: the one before us if it is
// healthy, else that of a candidate (another running instance of ours), else the one
// before us if it exists, else none. It does so only where the record says that we
// promoted owner's, and only while it is still current: a choice that somebody made
// meanwhile stands, and voids the record.
//
// The previous context is probed for at most [DefaultTimeout], and the end of ctx ends that
// probe, after which the context counts as not healthy; the rest is done all the same.
// Before the caller calls, the owner's state must not be Up any more for a promotion that
// looks at it, so that none can follow.
//
// What is claimed for owner is given back first: programs must not find an engine that is
// being stopped. For another running instance it is claimed again.
//
// The outcome's reason is Demoted, ChangedByUser, AlreadyCurrent (it is current, but
// not by our doing), NotApplicable (there was nothing to do) or Failed.
func (c *Config) Demote(ctx context.Context, owner Owner) Outcome {
	released := c.Release(context.WithoutCancel(ctx), owner)
	out, err := c.demote(ctx, owner)
	if err == nil {
		err = released.Err
	}
	if err != nil {
		out = Outcome{
			Reason: state.ReasonFailed, Err: err,
			Message: fmt.Sprintf("Context %q can't be replaced as the current one: %v.", owner.Context, err),
		}
	}
	out.EnvOverride = c.EnvOverride()
	return out
}

func (c *Config) demote(ctx context.Context, owner Owner) (Outcome, error) {
	if owner.Context == "" {
		return noContext, nil
	}
	r, err := c.settledRecord(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !r.promoted(owner) {
		return c.notPromoted(owner)
	}
	s := c.succession(ctx, owner, r.Previous)
	return c.demoteTo(ctx, owner, s)
}

// demoteTo demotes owner in favour of who follows, and claims for that one what comes with a
// promotion.
func (c *Config) demoteTo(ctx context.Context, owner Owner, s succession) (Outcome, error) {
	ctx = context.WithoutCancel(ctx)
	out, err := c.update(ctx, func(t *tx) (Outcome, error) { return t.demote(owner, s) })
	if err != nil || !out.Changed {
		return out, err
	}
	for _, next := range s.others {
		if next.Context == out.Current {
			c.Claim(ctx, next.Owner, next.Socket, PromoteIfBroken, nil) // its supervisor says how that went
		}
	}
	return out, nil
}

// settledRecord returns the record after a promotion that is under way has ended. Later
// promotions will find the engine down. config.json need not be in order for it.
func (c *Config) settledRecord(ctx context.Context) (r record, err error) {
	_, err = c.locked(context.WithoutCancel(ctx), func(*tx) (Outcome, error) {
		written, err := c.readRecord()
		r, _ = c.valid(written, "")
		return Outcome{}, err
	})
	return r, err
}

// notPromoted is the outcome where owner's context is not current by our doing. Where there
// is no such context, config.json need not be readable to tell.
func (c *Config) notPromoted(owner Owner) (Outcome, error) {
	none := Outcome{
		Reason:  state.ReasonNotApplicable,
		Message: fmt.Sprintf("Context %q is not the current one.", owner.Context),
	}
	ours, err := c.Exists(owner)
	if err == nil && !ours {
		none.Current, _ = c.Current()
		none.Current = named(none.Current)
		return none, nil
	}
	stored, err := c.Current()
	if err != nil {
		return Outcome{}, err
	}
	if none.Current = named(stored); stored == owner.Context {
		none.Reason = state.ReasonAlreadyCurrent
		none.Message = fmt.Sprintf("Context %q was not made current by docker rd and stays.", stored)
	}
	return none, nil
}

// healthy probes a stored current context, for no longer than a probe takes: whoever
// stops an engine may have given it minutes.
func (c *Config) healthy(ctx context.Context, stored string) bool {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return c.forJudging().Probe(ctx, named(stored))[0].Health == Healthy
}

// A succession is what was found out, before the lock, about who can follow.
type succession struct {
	previous string
	healthy  bool        // previous is
	others   []OwnerInfo // where it is not
}

// succession finds out who can follow owner, where previous was current before.
func (c *Config) succession(ctx context.Context, owner Owner, previous string) succession {
	s := succession{healthy: c.healthy(ctx, previous), previous: previous}
	if !s.healthy {
		s.others = c.successors(owner)
	}
	return s
}

// demote puts another context in the place of owner's.
func (t *tx) demote(owner Owner, s succession) (Outcome, error) {
	// A program that had read config.json before may have written the name of a context
	// back that does not exist any more.
	_, late := byContext(t.record.Demoted, owner.Context)
	switch {
	case !t.record.promoted(owner) && (!late || t.exists(owner.Context)):
		return t.notPromoted(owner)
	case t.stored.Name != owner.Context:
		return t.void()
	}
	to, next := t.successor(s)
	before := configfile.Value{Name: t.record.Previous, Unset: t.record.PreviousUnset}
	changed, err := t.handOver(owner, to, before, next)
	switch {
	case err != nil:
		return Outcome{}, err
	case !changed:
		return t.void()
	}
	message := fmt.Sprintf("Context %q is the current one again.", named(next.Name))
	if to.Context != "" {
		message = fmt.Sprintf("Context %q of another running instance is the current one now.", to.Context)
	}
	return Outcome{
		Reason: state.ReasonDemoted, Changed: true, Previous: owner.Context, Current: named(next.Name), Message: message,
	}, nil
}

// successor returns which context is to be current next, and whose it is if it is ours.
func (t *tx) successor(s succession) (Owner, configfile.Value) {
	previous := configfile.Value{Name: t.record.Previous, Unset: t.record.PreviousUnset}
	if s.healthy && s.previous == previous.Name {
		return Owner{}, previous
	}
	for _, o := range s.others {
		if ours, err := t.Exists(o.Owner); err == nil && ours {
			return o.Owner, configfile.Value{Name: o.Context}
		}
	}
	if t.exists(previous.Name) {
		return Owner{}, previous
	}
	return Owner{}, configfile.Value{}
}

// void gives up what the record claims, since another context is current by somebody else's
// choice. Where it is one that the record claims too, that claim stays. Nothing is given up
// where the configuration says nothing, as one that is being written does for a moment.
func (t *tx) void() (Outcome, error) {
	stored, r := t.stored.Name, t.record
	next := r.voided(t.notOurs(r, stored))
	out := voided(stored)
	if other, ok := byContext(r.Promoted, stored); ok {
		next.Previous, next.PreviousUnset = r.Previous, r.PreviousUnset
		next.Promoted, next.Voided = []Owner{other}, false
		next.Demoted = slices.DeleteFunc(next.Demoted, func(o Owner) bool { return o == other })
		out.Reason = state.ReasonNotApplicable
		out.Message = fmt.Sprintf("Context %q is the current one, by docker rd's doing, and stays.", stored)
	}
	if len(r.Promoted) == 0 {
		return out, nil
	}
	if chosen, ok := configfile.Chosen(t.file()); !ok || chosen != stored {
		return out, nil
	}
	return out, t.save(next)
}

// voided is the outcome where somebody else has chosen the stored context.
func voided(stored string) Outcome {
	return Outcome{
		Reason: state.ReasonChangedByUser, Current: named(stored),
		Message: fmt.Sprintf("The current context was changed to %q meanwhile and stays.", named(stored)),
	}
}
