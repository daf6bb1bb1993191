package dockercontext

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
)

// Demote puts another context back in place of owner's: the one before us if it is
// healthy, else that of a candidate (another running instance of ours), else the one
// before us if it exists, else none. It does so only where the record says that we
// promoted owner's, and only while it is still current: a choice that somebody made
// meanwhile stands, and voids the record.
//
// candidates is asked only if it comes to that; nil means none. The previous context is
// probed for at most [DefaultTimeout], and the end of ctx ends that probe, after which the
// context counts as not healthy; the rest is done all the same. Before the caller calls, it
// has made StillUp of [PromoteOptions] say no, so that no promotion can follow.
//
// The outcome's reason is Demoted, ChangedByUser, AlreadyCurrent (it is current, but
// not by our doing), NotApplicable (there was nothing to do) or Failed.
func (c *Config) Demote(ctx context.Context, owner Owner, candidates func() []Owner) Outcome {
	out, err := c.demote(ctx, owner, candidates)
	if err != nil {
		out = Outcome{
			Reason: ReasonFailed, Err: err,
			Message: fmt.Sprintf("Context %q can't be replaced as the current one: %v.", owner.Context, err),
		}
	}
	out.EnvOverride = c.EnvOverride()
	return out
}

func (c *Config) demote(ctx context.Context, owner Owner, candidates func() []Owner) (Outcome, error) {
	if owner.Context == "" {
		return noContext, nil
	}
	r, err := c.settledRecord(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if !r.promoted(owner) {
		return c.notPromoted(owner), nil
	}
	// Probed before the lock is taken, and used only if it is still the previous one.
	healthy := c.healthy(ctx, r.Previous)
	return c.replace(context.WithoutCancel(ctx), owner, candidates, r.Previous, healthy)
}

// settledRecord returns the record after a promotion that is under way has ended. Later
// promotions will find the engine down.
func (c *Config) settledRecord(ctx context.Context) (record, error) {
	unlock, err := c.lock(context.WithoutCancel(ctx))
	if err != nil {
		return record{}, err
	}
	defer unlock()
	return c.readRecord()
}

func (c *Config) notPromoted(owner Owner) Outcome {
	stored, err := c.Current()
	switch {
	case err != nil:
		return Outcome{
			Reason: ReasonFailed, Err: err,
			Message: fmt.Sprintf("The current context can't be read: %v.", err),
		}
	case stored == owner.Context:
		return Outcome{
			Reason: ReasonAlreadyCurrent, Current: stored,
			Message: fmt.Sprintf("Context %q was not made current by docker rd and stays.", stored),
		}
	}
	return Outcome{
		Reason: ReasonNotApplicable, Current: named(stored),
		Message: fmt.Sprintf("Context %q is not the current one.", owner.Context),
	}
}

// healthy probes a stored current context, for no longer than a probe takes: whoever
// stops an engine may have given it minutes.
func (c *Config) healthy(ctx context.Context, stored string) bool {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return c.withoutEnvironment().Probe(ctx, named(stored))[0].Health == Healthy
}

// replace puts another context in owner's place. previous and healthy are what the
// record said and a probe found, both before the lock.
func (c *Config) replace(ctx context.Context, owner Owner, candidates func() []Owner, previous string, healthy bool) (Outcome, error) {
	return c.locked(ctx, func(r record, stored string) (Outcome, error) {
		// A program that had read config.json before may have written the name of a context
		// back that does not exist any more.
		_, late := byContext(r.Demoted, owner.Context)
		switch {
		case !r.promoted(owner) && (!late || c.exists(owner.Context)):
			return c.notPromoted(owner), nil
		case stored != owner.Context:
			return c.void(r, stored)
		}
		to, next := c.successor(r, owner, candidates, healthy && r.Previous == previous)
		if err := c.writeRecord(next); err != nil {
			return Outcome{}, err
		}
		fault("demote:recorded")
		changed, err := c.update(ctx, owner.Context, to)
		fault("demote:changed")
		if !changed {
			if err = errors.Join(err, c.writeRecord(r)); err != nil {
				return Outcome{}, err
			}
			if stored, err = c.Current(); err != nil {
				return Outcome{}, err
			}
			return c.void(r, stored)
		}
		if err != nil {
			return Outcome{}, err
		}
		isOwner := func(o Owner) bool { return o == owner }
		next.Promoted = slices.DeleteFunc(slices.Clone(next.Promoted), isOwner)
		next.Demoted = remember(next.Demoted, owner)
		if err := c.writeRecord(next); err != nil {
			return Outcome{}, err
		}
		message := fmt.Sprintf("Context %q is the current one again.", named(to))
		if len(next.Promoted) > 0 {
			message = fmt.Sprintf("Context %q of another running instance is the current one now.", to)
		}
		return Outcome{
			Reason: ReasonDemoted, Changed: true, Previous: owner.Context, Current: named(to), Message: message,
		}, nil
	})
}

// successor returns which context follows owner's, and the record that says so while
// owner's is still current.
func (c *Config) successor(r record, owner Owner, candidates func() []Owner, healthy bool) (to string, next record) {
	next = r
	next.Promoted, next.Voided = []Owner{owner}, false
	if healthy {
		return r.Previous, next
	}
	for _, o := range among(candidates) {
		if o == owner || o.Context == "" {
			continue
		}
		if ours, err := c.Exists(o); err == nil && ours {
			next.Promoted = []Owner{owner, o}
			return o.Context, next
		}
	}
	if c.exists(r.Previous) {
		return r.Previous, next
	}
	return "", next
}

// among returns the candidates; nil has none.
func among(candidates func() []Owner) []Owner {
	if candidates == nil {
		return nil
	}
	return candidates()
}

// void gives up what the record claims, since stored is current by somebody else's choice.
// Where stored is one that the record claims too, that claim stays. Nothing is given up
// where the configuration says nothing, as one that is being written does for a moment.
func (c *Config) void(r record, stored string) (Outcome, error) {
	next := r.voided(c.notOurs(r, stored))
	out := Outcome{
		Reason: ReasonChangedByUser, Current: named(stored),
		Message: fmt.Sprintf("The current context was changed to %q meanwhile and stays.", named(stored)),
	}
	if other, ok := byContext(r.Promoted, stored); ok {
		next.Previous, next.Promoted, next.Voided = r.Previous, []Owner{other}, false
		next.Demoted = slices.DeleteFunc(next.Demoted, func(o Owner) bool { return o == other })
		out.Reason = ReasonNotApplicable
		out.Message = fmt.Sprintf("Context %q is the current one, by docker rd's doing, and stays.", stored)
	}
	if len(r.Promoted) == 0 {
		return out, nil
	}
	if chosen, ok := configfile.Chosen(c.file()); !ok || chosen != stored {
		return out, nil
	}
	return out, c.writeRecord(next)
}
