package dockercontext

import (
	"context"
	"fmt"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/pause"
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

// A Judgement is the current context at one moment, with the report of a probe.
type Judgement struct {
	// Stored is the current context in config.json, "" if none was set.
	Stored string
	// Report is the zero Report if no probe was needed.
	Report Report
	// Elsewhere says that it belongs to an instance with another home.
	Elsewhere bool
	// Err says why config.json can't be read, if so. It is not changed then.
	Err error
}

// Judge reads the stored current context and, if owner's promotion by the policy depends on
// that, probes it: without the environment's overrides, since the choice is for all shells. It
// ends with ctx, or after [DefaultTimeout], and changes nothing.
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

// Gone reports whether the judged context of an instance with another home has gone with that:
// then the judgement does not count any more.
func (c *Config) Gone(j Judgement) bool { return j.Elsewhere && !c.exists(j.Stored) }

// PromoteOptions are the options of [Config.Promote].
type PromoteOptions struct {
	Policy Policy
	// DryRun changes nothing: the outcome says what would be done.
	DryRun bool
}

// Promote makes owner's context the current one if the policy and the judgement allow it, the
// current context is still the judged one (and still broken, if it was), and the engine is still
// up. The previous context is recorded first. Under no policy is a context promoted whose engine
// the owner of the configuration may not use. The claims of an instance that was current are
// given back. The outcome's reason is the one for the condition ContextPromoted.
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
		return outcome(state.ReasonNotApplicable, "This instance has no context of its own to make current.")
	}
	if j.Err != nil {
		return failed(j.Err, "The current context can't be read")
	}
	if o.Policy == PromoteIfBroken && j.Report.Health == Broken {
		// The judgement may be old: engines start slowly.
		j.Report = c.forJudging().glance(ctx, named(j.Stored))
	}
	if out := c.declined(j, owner, o.Policy); out != nil {
		if out.Reason == state.ReasonAlreadyCurrent && o.Policy == PromoteAlways && !o.DryRun {
			_, _ = c.update(ctx, func(t *tx) (Outcome, error) { return Outcome{}, t.insist(owner) }) // it is current all the same
		}
		return *out
	}
	done := promoted(j, owner, o)
	if o.DryRun {
		return done
	}
	out, err := c.updateAnew(ctx, func(t *tx) (Outcome, error) { return t.promote(j, owner, o.Policy, done) })
	if out.Changed {
		c.releaseReplaced(context.WithoutCancel(ctx), owner)
	}
	if err != nil {
		out = failed(err, "Context %q can't be made the current one", owner.Context).at(j.Stored)
	}
	return out
}

// declined returns why owner's context is not promoted, nil if it may be.
func (c *Config) declined(j Judgement, owner Owner, policy Policy) *Outcome {
	stay := func(reason state.Reason, format string, args ...any) *Outcome {
		out := outcome(reason, format, args...).at(j.Stored)
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

// promoted is the outcome of a promotion, or of its dry run.
func promoted(j Judgement, owner Owner, o PromoteOptions) Outcome {
	out := replaced(state.ReasonPromoted, named(j.Stored), owner.Context, "Context %q is the current one now", owner.Context)
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

// promote checks everything again and makes owner's context current. Done is the outcome then.
func (t *tx) promote(j Judgement, owner Owner, policy Policy, done Outcome) (Outcome, error) {
	instead := func(reason state.Reason, format string, args ...any) (Outcome, error) {
		out := outcome(reason, format, args...).at(j.Stored)
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
		changed, err := t.promoteOver(owner, policy)
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

// insist notes that somebody wants owner's context, if it was promoted, whatever it has replaced.
func (t *tx) insist(owner Owner) error {
	if !t.record.promoted(owner) || t.record.Insisted {
		return nil
	}
	r := t.record
	r.Insisted = true
	return t.save(r)
}

// promoteOver replaces the stored current context by owner's.
func (t *tx) promoteOver(owner Owner, policy Policy) (changed bool, err error) {
	last, ours := byContext(t.record.Promoted, t.stored.Name)
	before := t.record.previous()
	if !ours {
		last = Owner{}
		before = configfile.Value{Name: t.notOurs(t.record, t.stored.Name), Unset: t.stored.Unset}
	}
	// After one of ours, the previous context stays the previous one.
	return t.handOver(last, owner, before, configfile.Value{Name: owner.Context}, policy == PromoteAlways)
}

// Promoted returns the state of owner's promotion, as a reason of the condition ContextPromoted:
// if its context is the current one, Promoted if docker rd made it so, else AlreadyCurrent; if
// not, Demoted if docker rd replaced it, else ChangedByUser; Failed if that can't be determined.
// It waits for a promotion or demotion in progress, until ctx ends.
func (c *Config) Promoted(ctx context.Context, owner Owner) Outcome {
	out, err := c.update(ctx, func(t *tx) (Outcome, error) { return t.standing(owner), nil })
	if err != nil {
		return failed(err, "The current context can't be determined")
	}
	return out
}

// standing returns the state of owner's promotion.
func (t *tx) standing(owner Owner) Outcome {
	stored, r := t.stored.Name, t.record
	_, demoted := byContext(r.Demoted, owner.Context)
	say := func(reason state.Reason, format string) Outcome {
		out := outcome(reason, format, named(stored))
		out.Current = named(stored)
		return out
	}
	switch {
	case stored == owner.Context && r.promoted(owner):
		return say(state.ReasonPromoted, "Context %q was made current by docker rd.")
	case stored == owner.Context && t.lost(owner):
		return say(state.ReasonChangedByUser, "The current context %q is not this instance's any more.")
	case stored == owner.Context:
		return say(state.ReasonAlreadyCurrent, "Context %q is the current one by somebody's choice.")
	case demoted && !r.Voided && !r.promoted(owner):
		return say(state.ReasonDemoted, "Context %q is the current one now: docker rd made it so.")
	}
	return say(state.ReasonChangedByUser, "The current context was changed to %q.")
}

// RestartTime is how long a replaced context may take to come back, as when a service restarts.
// A start does not wait for that.
const RestartTime = 10 * time.Second

// restartInterval is how often [Config.AnswersAgain] probes.
const restartInterval = 250 * time.Millisecond

// AnswersAgain waits until the context that a promotion has replaced as broken is healthy: its
// engine was only restarting. It reports false when ctx ends before.
func (c *Config) AnswersAgain(ctx context.Context, replaced string) bool {
	for pause.For(ctx, restartInterval) == nil {
		if c.forJudging().glance(ctx, named(replaced)).Health == Healthy {
			return true
		}
	}
	return false
}

// GiveBack puts the context that owner's has replaced back, since it answers again. The reason is
// CurrentHealthy then, not Demoted: nobody stopped owner's engine. If the current context has been
// changed since, it is NotApplicable.
func (c *Config) GiveBack(ctx context.Context, owner Owner, replaced string) Outcome {
	out, err := c.update(ctx, func(t *tx) (Outcome, error) { return t.giveBack(owner, replaced) })
	if err != nil {
		return failed(err, "Context %q can't be put back", named(replaced))
	}
	if out.Changed {
		out.Err = c.Release(ctx, owner).Err // claims end with the promotion
	}
	return out
}

// giveBack puts the previous context back, if nothing has changed since the promotion.
func (t *tx) giveBack(owner Owner, previous string) (Outcome, error) {
	nothing := outcome(state.ReasonNotApplicable, "The current context has been changed since.")
	if t.stored.Name != owner.Context || !t.record.promoted(owner) || t.record.Previous != previous || t.record.Insisted {
		return nothing, nil
	}
	before := t.record.previous()
	changed, err := t.handOver(owner, Owner{}, before, before, false)
	if err != nil || !changed {
		return nothing, err
	}
	return replaced(state.ReasonCurrentHealthy, owner.Context, named(previous),
		"Context %q works again and is put back: its engine was only restarting.", named(previous)), nil
}
