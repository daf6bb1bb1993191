package dockercontext

import (
	"context"
	"fmt"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A Policy says when a context is made current.
type Policy string

// The policies of `--promote`, and that of `context promote --force`.
const (
	PromoteIfBroken Policy = "if-broken" // only where the current one is broken
	PromoteAlways   Policy = "always"
	PromoteNever    Policy = "never"
)

// A Judgement is what was current at some moment, and what a probe thought of it.
type Judgement struct {
	// Stored is the current context as config.json had it, "" where none was set.
	Stored string
	// Report is the probe's, the zero Report where none was needed.
	Report Report
	// Elsewhere says that it belongs to an instance of a docker rd with another home.
	Elsewhere bool
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
	j := Judgement{Stored: stored, Elsewhere: c.foreignInstance(stored)}
	if stored != owner.Context && policy == PromoteIfBroken {
		j.Report = c.forJudging().Probe(ctx, named(stored))[0]
	}
	return j
}

// Gone reports whether a context of an instance with another home that was judged has gone, as
// it does when that stops: then the judgement does not count any more.
func (c *Config) Gone(j Judgement) bool { return j.Elsewhere && !c.exists(j.Stored) }

// PromoteOptions are the circumstances of a promotion.
type PromoteOptions struct {
	Policy Policy
	// DryRun only finds out what would be done.
	DryRun bool
}

// Promote makes owner's context the current one, if the policy and the judgement say
// so, and if the current context is still the one that was judged, is still broken if
// it was, and the engine is still up. What was current before is recorded first. Whatever
// the policy, it is not made current where the owner of the configuration may not use the
// engine. What is claimed for another of ours that was current is given back: the claim goes
// with the promotion. The outcome's reason is that of the condition ContextPromoted.
func (c *Config) Promote(ctx context.Context, j Judgement, owner Owner, o PromoteOptions) Outcome {
	out := c.promote(ctx, j, owner, o)
	out.DryRun = o.DryRun
	out.EnvOverride = c.EnvOverride()
	if out.EnvOverride != "" && out.IsCurrent() {
		out.Message += fmt.Sprintf(" In this shell, %s overrides it.", out.EnvOverride)
	}
	return out
}

func (c *Config) promote(ctx context.Context, j Judgement, owner Owner, o PromoteOptions) Outcome {
	if owner.Context == "" {
		return Outcome{Reason: state.ReasonNotApplicable, Message: "This instance has no context of its own to make current."}
	}
	if j.Err != nil {
		return Outcome{
			Reason: state.ReasonFailed, Err: j.Err,
			Message: fmt.Sprintf("The current context can't be read: %v.", j.Err),
		}
	}
	if o.Policy == PromoteIfBroken && j.Report.Health == Broken {
		// It may be long ago: an engine takes its time to start, and so does another.
		j.Report = c.forJudging().glance(ctx, named(j.Stored))
	}
	if out := c.declined(j, owner, o.Policy); out != nil {
		return *out
	}
	done := promoted(j, owner, o)
	if o.DryRun {
		return done
	}
	replaced, ours := c.ownerOf(j.Stored)
	out, err := c.updateAnew(ctx, func(t *tx) (Outcome, error) { return t.promote(j, owner, done) })
	if out.Changed && ours {
		c.Release(context.WithoutCancel(ctx), replaced) // if that fails, the claim that follows says so
	}
	if err != nil {
		out = stays(state.ReasonFailed, j.Stored, "Context %q can't be made the current one: %v.", owner.Context, err)
		out.Err = err
	}
	return out
}

// stays is the outcome of a promotion that leaves the stored current context as it is.
func stays(reason state.Reason, stored, format string, args ...any) Outcome {
	current := named(stored)
	return Outcome{Reason: reason, Previous: current, Current: current, Message: fmt.Sprintf(format, args...)}
}

// declined returns why owner's context is not to be made current, nil if it is.
func (c *Config) declined(j Judgement, owner Owner, policy Policy) *Outcome {
	stay := func(reason state.Reason, format string, args ...any) *Outcome {
		out := stays(reason, j.Stored, format, args...)
		return &out
	}
	current, report := named(j.Stored), j.Report
	ours, err := c.Exists(owner)
	switch {
	case err == nil && !ours:
		return stay(state.ReasonNotApplicable, "There is no context %q of this instance that could be made current.", owner.Context)
	case j.Stored == owner.Context:
		return stay(state.ReasonAlreadyCurrent, "Context %q is the current one already.", owner.Context)
	case policy == PromoteNever:
		return stay(state.ReasonNotRequested, "The current context %q is left as it is, as asked.", current)
	}
	if barred := c.barred(owner.Context); barred != "" {
		return stay(state.ReasonNotPermitted, "%s", barred)
	}
	switch {
	case policy == PromoteAlways:
	case report.Health == Healthy:
		return stay(state.ReasonCurrentHealthy, "The current context %q works and stays.", current)
	case report.Health != Broken:
		return stay(state.ReasonCurrentUnknown, "The current context %q may still work and stays: %s", current, lowerFirst(report.Message))
	}
	return nil
}

// promoted is the outcome of a promotion that has been made, or on a dry run would be.
func promoted(j Judgement, owner Owner, o PromoteOptions) Outcome {
	out := Outcome{
		Reason: state.ReasonPromoted, Changed: true, Previous: named(j.Stored), Current: owner.Context,
		Message: fmt.Sprintf("Context %q is the current one now", owner.Context),
	}
	if o.DryRun {
		out.Current = out.Previous
		out.Message = fmt.Sprintf("Context %q would be made the current one", owner.Context)
	}
	if j.Report.Health == Broken {
		out.Message += fmt.Sprintf(", since %q is broken: %s", out.Previous, lowerFirst(j.Report.Message))
	} else {
		out.Message += fmt.Sprintf(", in place of %q.", out.Previous)
	}
	return out
}

// promote looks once more, and makes owner's context current: done.
func (t *tx) promote(j Judgement, owner Owner, done Outcome) (Outcome, error) {
	instead := func(reason state.Reason, format string, args ...any) (Outcome, error) {
		out := stays(reason, j.Stored, format, args...)
		out.Current = named(t.stored.Name)
		return out, nil
	}
	if t.o.Owners.State(owner) != Up {
		return instead(state.ReasonNotApplicable, "The engine is not up any more, so the current context stays.")
	}
	switch ours, err := t.Exists(owner); {
	case err != nil:
		return Outcome{}, err
	case !ours:
		return instead(state.ReasonNotApplicable, "There is no context %q of this instance that could be made current.", owner.Context)
	}
	if t.stored.Name == j.Stored {
		changed, err := t.promoteOver(owner)
		if err != nil {
			return Outcome{}, err
		}
		if changed {
			return done, nil
		}
	}
	if t.stored.Name == owner.Context {
		return instead(state.ReasonAlreadyCurrent, "Context %q is the current one already.", owner.Context)
	}
	return instead(state.ReasonChangedByUser, "The current context was changed to %q meanwhile and stays.", named(t.stored.Name))
}

// promoteOver makes owner's context current in place of the stored one.
func (t *tx) promoteOver(owner Owner) (changed bool, err error) {
	last, ours := byContext(t.record.Promoted, t.stored.Name)
	before := configfile.Value{Name: t.record.Previous, Unset: t.record.PreviousUnset}
	if !ours {
		last = Owner{}
		before = configfile.Value{Name: t.notOurs(t.record, t.stored.Name), Unset: t.stored.Unset}
	}
	// Where we follow one of our own, what was before it is what was before us.
	return t.handOver(last, owner, before, configfile.Value{Name: owner.Context})
}

// Promoted returns how owner's promotion stands, as a reason for the condition
// ContextPromoted, and changes nothing that counts. Where owner's context is the current
// one, that is Promoted if it is by docker rd's doing, else AlreadyCurrent. Where it is not
// any more, it is Demoted or ChangedByUser, after who put another in its place; Failed where
// neither can be found out. It waits for a promotion or demotion that is under way, until ctx
// ends.
func (c *Config) Promoted(ctx context.Context, owner Owner) Outcome {
	out, err := c.update(ctx, func(t *tx) (Outcome, error) { return t.standing(owner), nil })
	if err != nil {
		return Outcome{Reason: state.ReasonFailed, Err: err, Message: fmt.Sprintf("The current context can't be found out: %v.", err)}
	}
	return out
}

// standing returns how owner's promotion stands.
func (t *tx) standing(owner Owner) Outcome {
	stored, r := t.stored.Name, t.record
	_, demoted := byContext(r.Demoted, owner.Context)
	out := Outcome{Current: named(stored)}
	switch {
	case stored == owner.Context && r.promoted(owner):
		out.Reason = state.ReasonPromoted
		out.Message = fmt.Sprintf("Context %q is the current one, by docker rd's doing.", stored)
	case stored == owner.Context && t.lost(owner):
		out.Reason = state.ReasonChangedByUser
		out.Message = fmt.Sprintf("The current context %q is not this instance's any more.", stored)
	case stored == owner.Context:
		out.Reason = state.ReasonAlreadyCurrent
		out.Message = fmt.Sprintf("Context %q is the current one by somebody's choice.", stored)
	case demoted && !r.Voided && !r.promoted(owner):
		out.Reason = state.ReasonDemoted
		out.Message = fmt.Sprintf("Context %q is the current one now, by docker rd's doing.", named(stored))
	default:
		out.Reason = state.ReasonChangedByUser
		out.Message = fmt.Sprintf("The current context was changed to %q.", named(stored))
	}
	return out
}

// RestartTime is how long a broken context may come back for after it was replaced: as
// long as the restart of a service takes. A start does not wait for that.
const RestartTime = 10 * time.Second

// restartInterval is how often a context is looked at that may be restarting.
const restartInterval = 250 * time.Millisecond

// Reconsider goes on with the proof after a promotion that rested on one: it looks at the
// context that was current before, until ctx ends or owner's is not promoted any more, and
// puts it back once it is healthy, since then it was only restarting. Then the reason is
// CurrentHealthy, and Demoted is not: nobody stopped the engine. Otherwise the outcome is
// NotApplicable, or Failed.
func (c *Config) Reconsider(ctx context.Context, owner Owner, replaced string) Outcome {
	tick := time.NewTicker(restartInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return Outcome{Reason: state.ReasonNotApplicable, Message: fmt.Sprintf("Context %q stays the current one.", owner.Context)}
		case <-tick.C:
		}
		if c.forJudging().glance(ctx, named(replaced)).Health != Healthy {
			continue
		}
		out, err := c.update(context.WithoutCancel(ctx), func(t *tx) (Outcome, error) { return t.giveBack(owner, replaced) })
		if err != nil {
			return Outcome{Reason: state.ReasonFailed, Err: err, Message: fmt.Sprintf("Context %q can't be put back: %v.", named(replaced), err)}
		}
		if out.Changed {
			out.Err = c.Release(context.WithoutCancel(ctx), owner).Err // what came with the promotion goes with it
		}
		return out
	}
}

// giveBack puts the replaced context back, if nothing has changed since its promotion.
func (t *tx) giveBack(owner Owner, replaced string) (Outcome, error) {
	nothing := Outcome{Reason: state.ReasonNotApplicable, Message: "The current context has been changed since."}
	if t.stored.Name != owner.Context || !t.record.promoted(owner) || t.record.Previous != replaced {
		return nothing, nil
	}
	before := configfile.Value{Name: t.record.Previous, Unset: t.record.PreviousUnset}
	changed, err := t.handOver(owner, Owner{}, before, before)
	if err != nil || !changed {
		return nothing, err
	}
	return Outcome{
		Reason: state.ReasonCurrentHealthy, Changed: true, Previous: owner.Context, Current: named(replaced),
		Message: fmt.Sprintf("Context %q works again and is put back: its engine was only restarting.", named(replaced)),
	}, nil
}
