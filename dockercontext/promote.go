package dockercontext

import (
	"context"
	"errors"
	"fmt"
)

// A Policy says when a context is made current.
type Policy string

// The policies of `--promote`, and that of `context promote --force`.
const (
	PromoteIfBroken Policy = "if-broken" // only where the current one is broken
	PromoteAlways   Policy = "always"
	PromoteNever    Policy = "never"
	PromoteForce    Policy = "force" // as always, asked for by hand
)

// A Judgement is what was current at some moment, and what a probe thought of it.
type Judgement struct {
	// Stored is the current context as config.json had it, "" where none was set.
	Stored string
	// Report is the probe's, the zero Report where none was needed.
	Report Report
	// Err says why the stored current context can't be read, if so. Such a
	// configuration is not changed either.
	Err error
}

// Judge reads the stored current context and, where owner's promotion by the policy
// depends on it, probes it: without what this process's environment overrides, since
// the choice is for all shells. It takes as long as ctx allows ([DefaultTimeout] by
// default) and changes nothing.
func (c *Config) Judge(ctx context.Context, owner Owner, policy Policy) Judgement {
	stored, err := c.Current()
	if err != nil {
		return Judgement{Err: err}
	}
	j := Judgement{Stored: stored}
	if stored != owner.Context && policy == PromoteIfBroken {
		j.Report = c.withoutEnvironment().Probe(ctx, named(stored))[0]
	}
	return j
}

// PromoteOptions are the circumstances of a promotion.
type PromoteOptions struct {
	Policy Policy
	// DryRun tells what would be done.
	DryRun bool
	// Instance is the name of the owner's instance, for what is said of promoting it by hand.
	Instance string
	// StillUp is asked under the lock whether the engine is still up. Nil means yes.
	StillUp func() bool
}

// Promote makes owner's context the current one, if the policy and the judgement say
// so, and if the current context is still the one that was judged, is still broken if
// it was, and the engine is still up. What was current before is recorded first. The
// outcome's reason is that of the condition ContextPromoted.
func (c *Config) Promote(ctx context.Context, j Judgement, owner Owner, o PromoteOptions) Outcome {
	out := c.promote(ctx, j, owner, o)
	out.DryRun = o.DryRun
	out.EnvOverride = c.EnvOverride()
	if out.EnvOverride != "" && PromotedStatus(out.Reason) == True {
		out.Message += fmt.Sprintf(" In this shell, %s overrides it.", out.EnvOverride)
	}
	return out
}

func (c *Config) promote(ctx context.Context, j Judgement, owner Owner, o PromoteOptions) Outcome {
	if owner.Context == "" {
		return Outcome{Reason: ReasonNotApplicable, Message: "This instance has no context of its own to make current."}
	}
	if j.Err != nil {
		return Outcome{
			Reason: ReasonFailed, Err: j.Err,
			Message: fmt.Sprintf("The current context can't be read: %v.", j.Err),
		}
	}
	current := named(j.Stored)
	stay := func(reason, format string, args ...any) Outcome {
		return Outcome{Reason: reason, Previous: current, Current: current, Message: fmt.Sprintf(format, args...)}
	}
	byHand := fmt.Sprintf(" To use %q: docker-rd context promote --force %s, or docker --context %s.", owner.Context, o.Instance, owner.Context)
	report := j.Report
	if o.Policy == PromoteIfBroken && report.Health == Broken {
		// It may be long ago: an engine takes its time to start, and so does another.
		report = c.withoutEnvironment().glance(ctx, current)
	}
	ours, err := c.Exists(owner)
	switch {
	case err == nil && !ours:
		return stay(ReasonNotApplicable, "There is no context %q of this instance that could be made current.", owner.Context)
	case j.Stored == owner.Context:
		return stay(ReasonAlreadyCurrent, "Context %q is the current one already.", owner.Context)
	case o.Policy == PromoteNever:
		return stay(ReasonNotRequested, "The current context %q is left as it is, as asked.%s", current, byHand)
	case o.Policy == PromoteAlways || o.Policy == PromoteForce:
	case report.Health == Healthy:
		return stay(ReasonCurrentHealthy, "The current context %q works and stays.%s", current, byHand)
	case report.Health != Broken:
		return stay(ReasonCurrentUnknown, "The current context %q may still work and stays: %s%s", current, lowerFirst(report.Message), byHand)
	}
	done := Outcome{
		Reason: ReasonPromoted, Changed: true, Previous: current, Current: owner.Context,
		Message: fmt.Sprintf("Context %q is the current one now", owner.Context),
	}
	if o.DryRun {
		done.Current = current
		done.Message = fmt.Sprintf("Context %q would be made the current one", owner.Context)
	}
	if report.Health == Broken {
		done.Message += fmt.Sprintf(", since %q is broken: %s", current, lowerFirst(report.Message))
	} else {
		done.Message += fmt.Sprintf(", in place of %q.", current)
	}
	if o.DryRun {
		return done
	}
	out, err := c.promoteLocked(ctx, j, owner, o)
	switch {
	case err != nil:
		out := stay(ReasonFailed, "Context %q can't be made the current one: %v.", owner.Context, err)
		out.Err = err
		return out
	case out != nil:
		return *out
	}
	return done
}

// Promoted tells how owner's promotion stands, as a reason for the condition
// ContextPromoted, and changes nothing. Where owner's context is the current one, that is
// Promoted if it is by docker rd's doing, else AlreadyCurrent. Where it is not any more,
// it is Demoted or ChangedByUser, after who put another in its place; Failed where
// neither can be told. It waits for a promotion or demotion that is under way, until ctx
// ends.
func (c *Config) Promoted(ctx context.Context, owner Owner) Outcome {
	out, err := c.locked(ctx, func(r record, stored string) (Outcome, error) {
		return r.standing(owner, stored), nil
	})
	if err != nil {
		return Outcome{Reason: ReasonFailed, Err: err, Message: fmt.Sprintf("The current context can't be told: %v.", err)}
	}
	return out
}

// standing tells how owner's promotion stands while stored is the current context.
func (r *record) standing(owner Owner, stored string) Outcome {
	_, demoted := byContext(r.Demoted, owner.Context)
	out := Outcome{Current: named(stored)}
	switch {
	case stored == owner.Context && r.promoted(owner):
		out.Reason = ReasonPromoted
		out.Message = fmt.Sprintf("Context %q is the current one, by docker rd's doing.", stored)
	case stored == owner.Context:
		out.Reason = ReasonAlreadyCurrent
		out.Message = fmt.Sprintf("Context %q is the current one by somebody's choice.", stored)
	case demoted && !r.Voided && !r.promoted(owner):
		out.Reason = ReasonDemoted
		out.Message = fmt.Sprintf("Context %q is the current one now, by docker rd's doing.", named(stored))
	default:
		out.Reason = ReasonChangedByUser
		out.Message = fmt.Sprintf("The current context was changed to %q.", named(stored))
	}
	return out
}

// promoteLocked looks once more, records, and changes. A nil Outcome means done.
func (c *Config) promoteLocked(ctx context.Context, j Judgement, owner Owner, o PromoteOptions) (*Outcome, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	instead := func(reason, stored, format string, args ...any) (*Outcome, error) {
		return &Outcome{
			Reason: reason, Previous: named(j.Stored), Current: named(stored), Message: fmt.Sprintf(format, args...),
		}, nil
	}
	if o.StillUp != nil && !o.StillUp() {
		return instead(ReasonNotApplicable, j.Stored, "The engine is not up any more, so the current context stays.")
	}
	switch ours, err := c.Exists(owner); {
	case err != nil:
		return nil, err
	case !ours:
		return instead(ReasonNotApplicable, j.Stored, "There is no context %q of this instance that could be made current.", owner.Context)
	}
	stored, err := c.Current()
	if err != nil {
		return nil, err
	}
	changed := func(stored string) (*Outcome, error) {
		if stored == owner.Context {
			return instead(ReasonAlreadyCurrent, stored, "Context %q is the current one already.", owner.Context)
		}
		return instead(ReasonChangedByUser, stored, "The current context was changed to %q meanwhile and stays.", named(stored))
	}
	if stored != j.Stored {
		return changed(stored)
	}
	before, err := c.readRecord()
	if err != nil && !errors.Is(err, errRecord) {
		return nil, err
	}
	next := record{Previous: c.notOurs(before, stored), Promoted: []Owner{owner}, Demoted: before.Demoted}
	if last, ok := byContext(before.Promoted, stored); ok {
		// We follow one of our own: what was before it is what was before us.
		next.Previous = before.Previous
		next.Promoted = []Owner{last, owner}
	}
	if err := c.writeRecord(next); err != nil {
		return nil, err
	}
	fault("promote:recorded")
	ok, err := c.update(ctx, stored, owner.Context)
	fault("promote:changed")
	if !ok {
		// Not ours to tell what was before: the record must not claim it.
		err = errors.Join(err, c.writeRecord(before))
		if err != nil {
			return nil, err
		}
		if stored, err = c.Current(); err != nil {
			return nil, err
		}
		return changed(stored)
	}
	if err != nil {
		return nil, err
	}
	next.Demoted = remember(next.Demoted, next.Promoted[:len(next.Promoted)-1]...)
	next.Promoted = []Owner{owner}
	return nil, c.writeRecord(next)
}

// notOurs returns a context that can be put back later: "" for one of ours, since nobody
// knows what was before it.
func (c *Config) notOurs(r record, stored string) string {
	if _, ours := c.ownerOf(stored); ours {
		return ""
	}
	if _, ours := byContext(r.Demoted, stored); ours && !c.exists(stored) {
		return ""
	}
	return stored
}
