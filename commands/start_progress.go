package commands

import (
	"fmt"
	"strings"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// noteBoot says where an instance that starts with the system does so less than one may think.
func (a *app) noteBoot(i *instance.Instance) {
	boot := client.BootOf(i)
	if boot.Lingers {
		return
	}
	a.note("instance %q starts when %s logs in, and stops when the last session ends", i.Name, boot.User)
	a.aside("hint: `sudo loginctl enable-linger %s` makes it start with the system and keep running", boot.User)
}

// noteLacks notes what the instance's engine can't do here.
func (a *app) noteLacks(i *instance.Instance) {
	for _, limit := range engine.Lacks(i) {
		if !a.once(limit.Error()) {
			continue
		}
		a.note("%v", limit)
		if hint := failure.Hint(limit); hint != "" {
			a.aside("hint: %s", hint)
		}
	}
}

// notePending notes which settings are pending until a restart.
func (a *app) notePending(i *instance.Instance) {
	if pending := i.Pending(); len(pending) > 0 {
		a.note("instance %q runs without %s until a restart: %s", i.Name, strings.Join(pending, ", "), a.hinter().run("restart", i.Name))
	}
}

// tellConditions tells that the engine is starting, unless that has begun, and returns a
// function that tells of conditions as they change.
func tellConditions(i *instance.Instance, already instance.Observation, t reporter) func(instance.Observation) {
	seen := map[string]string{} // the last line of each condition
	for _, typ := range conditionTypes {
		seen[typ] = describe(already.Condition(typ), i)
	}
	log := tailOf(i.Paths.EngineLog())
	tell := func(c state.Condition) {
		line := describe(c, i)
		if line == "" || seen[c.Type] == line {
			return
		}
		seen[c.Type] = line
		step := t.of(i.Name, c.Type)
		step.reason = c.Reason
		switch {
		case c.Reason == state.ReasonStarting:
			step.because(log).doing(line, "Engine did not start")
		case c.Type == state.MirrorSynced && c.Status != state.True:
			step.live(line, "Mirror is not synced")
		case c.Reason == state.ReasonFailed:
			step.warned(line)
		default:
			step.did(line)
		}
	}
	if !already.Live || already.Condition(state.EngineReady).Reason == state.ReasonCrashLoop {
		tell(state.Condition{Type: state.EngineReady, Reason: state.ReasonStarting})
	}
	return func(o instance.Observation) {
		for _, typ := range conditionTypes {
			c := o.Condition(typ)
			c.Type = typ
			tell(c)
		}
	}
}

// warnOfDefects warns if an engine has started without its context, or with problems.
func (a *app) warnOfDefects(o instance.Observation) {
	for _, c := range o.State.Conditions {
		switch {
		case c.Type == state.ContextReady && c.Status == state.False,
			c.Type == state.ContextPromoted && c.Reason == state.ReasonFailed:
			a.warn("%s", c.Message)
		case c.Type == state.EngineReady && c.Status == state.True && c.Message != "" && a.once(c.Message):
			a.warn("%s", c.Message)
		}
	}
}

// noteOverride notes if docker does not follow the current context in this shell.
func (a *app) noteOverride(i *instance.Instance, o instance.Observation) {
	if o.Condition(state.ContextPromoted).Status != state.True {
		return
	}
	if other := overridden(i); other != "" {
		a.note("in this shell %s", other)
	}
}

// describe returns a line of progress for a condition, "" if there is nothing to tell.
func describe(c state.Condition, i *instance.Instance) string {
	switch c.Type {
	case state.EngineReady:
		if c.Status == state.True {
			return "Engine answers"
		}
		if c.Reason == state.ReasonStarting {
			if i.Settings.Adopts() {
				return "Connecting to the engine"
			}
			return "Engine is starting (driver " + i.Settings.Driver + ")"
		}
	case state.ContextReady:
		if c.Reason == state.ReasonCreated {
			return fmt.Sprintf("Context %q exists", i.Context())
		}
	case state.ContextPromoted:
		switch {
		case stayedByPolicy(c.Reason):
			return fmt.Sprintf("%s To use %q: docker-rd context promote --force %s, or docker%s --context %s.", c.Message, i.Context(), i.Name, configFlag(i.DockerConfig), i.Context())
		case c.Status != state.Unknown && c.Reason != state.ReasonNotApplicable && c.Reason != state.ReasonFailed: // see warnOfDefects
			return c.Message
		}
	case state.MirrorSynced:
		switch {
		case c.Status == state.True:
			return "Mirror is synced"
		case c.Reason == state.ReasonSyncing || c.Reason == state.ReasonListed:
			return "Mirror is being synced"
		}
	}
	return ""
}
