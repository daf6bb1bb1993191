package dockercontext

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Demote replaces owner's context as the current one: by the previous one if it is healthy, else
// by that of another running instance, else by the previous one if it exists, else by none. It
// does so only if the record says that docker rd promoted owner's context, and only while that
// is current: if somebody has chosen another one meanwhile, it stays, and the record is void.
//
// The previous context is probed for at most [DefaultTimeout], or until ctx ends; then it counts
// as not healthy, and the demotion goes on. The caller has made sure that the owner's state is
// not Up any more, so that no promotion can follow.
//
// The owner's claims are given back first: programs must not find an engine that is being
// stopped. The next owner claims them again.
//
// The outcome's reason is Demoted, ChangedByUser, AlreadyCurrent (current, but not promoted by
// docker rd), NotApplicable (nothing to do) or Failed.
func (c *Config) Demote(ctx context.Context, owner Owner) Outcome {
	released := c.Release(context.WithoutCancel(ctx), owner)
	out, err := c.demote(ctx, owner)
	if err == nil {
		err = released.Err
	}
	if err != nil {
		out = failed(err, "Context %q can't be replaced as the current one", owner.Context)
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

// demoteTo demotes owner, and makes the claims of the next one.
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

// settledRecord returns the record after the end of a promotion in progress; later ones will
// find the engine down. config.json may be damaged.
func (c *Config) settledRecord(ctx context.Context) (r record, err error) {
	_, err = c.locked(context.WithoutCancel(ctx), func(*tx) (Outcome, error) {
		written, err := c.readRecord()
		r, _ = c.valid(written, "")
		return Outcome{}, err
	})
	return r, err
}

// notPromoted is the outcome if docker rd has not promoted owner's context. If there is no such
// context, config.json may be unreadable.
func (c *Config) notPromoted(owner Owner) (Outcome, error) {
	none := outcome(state.ReasonNotApplicable, "Context %q is not the current one.", owner.Context)
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

// healthy probes a stored current context, for no longer than [DefaultTimeout]: a stop may have
// minutes.
func (c *Config) healthy(ctx context.Context, stored string) bool {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return c.forJudging().Probe(ctx, named(stored))[0].Health == Healthy
}

// A succession holds the contexts that can follow, determined before the lock is taken.
type succession struct {
	previous string
	healthy  bool        // previous is healthy
	others   []OwnerInfo // if it is not
}

// succession determines which contexts can follow owner's, if previous was current before.
func (c *Config) succession(ctx context.Context, owner Owner, previous string) succession {
	s := succession{healthy: c.healthy(ctx, previous), previous: previous}
	if !s.healthy {
		s.others = c.successors(owner)
	}
	return s
}

// demote replaces owner's context as the current one.
func (t *tx) demote(owner Owner, s succession) (Outcome, error) {
	// A program that had read config.json before may have written back the name of a context
	// that is gone.
	_, late := byContext(t.record.Demoted, owner.Context)
	switch {
	case !t.record.promoted(owner) && (!late || t.exists(owner.Context)):
		return t.notPromoted(owner)
	case t.stored.Name != owner.Context:
		return t.void()
	}
	to, next := t.successor(s)
	changed, err := t.handOver(owner, to, t.record.previous(), next, false)
	switch {
	case err != nil:
		return Outcome{}, err
	case !changed:
		return t.void()
	}
	format := "Context %q is the current one again."
	if to.Context != "" {
		format = "Context %q of another running instance is the current one now."
	}
	return replaced(state.ReasonDemoted, owner.Context, named(next.Name), format, named(next.Name)), nil
}

// successor returns the next current context, and its owner if it is one of ours.
func (t *tx) successor(s succession) (Owner, configfile.Value) {
	previous := t.record.previous()
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

// void voids the record, because somebody else has chosen the current context. If the record
// has a promotion of that one, too, it stays. Nothing is voided while the configuration is
// empty or damaged, as it is for a moment when a program writes it in place.
func (t *tx) void() (Outcome, error) {
	stored, r := t.stored.Name, t.record
	next := r.voided(t.notOurs(r, stored))
	out := voided(stored)
	if other, ok := byContext(r.Promoted, stored); ok {
		next.Previous, next.PreviousUnset = r.Previous, r.PreviousUnset
		next.Promoted, next.Voided = []Owner{other}, false
		next.Demoted = slices.DeleteFunc(next.Demoted, func(o Owner) bool { return o == other })
		out.Reason = state.ReasonNotApplicable
		out.Message = fmt.Sprintf("Context %q was made current by docker rd, and stays.", stored)
	}
	if len(r.Promoted) == 0 {
		return out, nil
	}
	if chosen, ok := configfile.Chosen(t.file()); !ok || chosen != stored {
		return out, nil
	}
	return out, t.save(next)
}

// voided is the outcome if somebody else has chosen the stored context.
func voided(stored string) Outcome {
	out := outcome(state.ReasonChangedByUser, "The current context was changed to %q meanwhile and stays.", named(stored))
	out.Current = named(stored)
	return out
}
