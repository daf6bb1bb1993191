package mirror

import (
	"testing"

	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// What each of moby's events marks. What changes nothing that is mirrored marks nothing; what
// is not known is taken for a change.
func TestMarks(t *testing.T) {
	const object, list, later, nothing = "object", "list", "later", "nothing"
	for _, test := range []struct {
		typ     events.Type
		kind    state.Kind
		actions []events.Action
		want    string
	}{
		{events.ContainerEventType, state.Containers, []events.Action{
			events.ActionCreate, events.ActionStart, events.ActionRestart, events.ActionStop, events.ActionPause, events.ActionUnPause,
			events.ActionRename, events.ActionKill, events.ActionDie, events.ActionOOM, events.ActionDestroy, events.ActionRemove,
			events.ActionUpdate, events.ActionHealthStatusHealthy, "ascend",
		}, object},
		{events.ContainerEventType, state.Containers, []events.Action{events.ActionPrune}, list},
		{events.ContainerEventType, state.Containers, []events.Action{
			events.ActionAttach, events.ActionDetach, events.ActionTop, events.ActionResize, events.ActionCopy, events.ActionArchivePath,
			events.ActionExtractToDir, events.ActionExport, "exec_create: true", "exec_start: true", events.ActionExecDie, events.ActionExecDetach,
		}, nothing},
		// An untagged commit has no event of its image, and a legacy build only those of its steps.
		{events.ContainerEventType, state.Images, []events.Action{events.ActionCommit}, list},
		{events.ContainerEventType, state.Images, []events.Action{events.ActionDestroy}, later},
		{events.ImageEventType, state.Images, []events.Action{
			events.ActionPull, events.ActionPush, events.ActionTag, events.ActionUnTag, events.ActionDelete, events.ActionImport,
			events.ActionLoad, events.ActionPrune, "melt",
		}, list},
		{events.ImageEventType, state.Images, []events.Action{events.ActionSave}, nothing},
		{events.BuilderEventType, state.Images, []events.Action{events.ActionPrune}, list},
		{events.VolumeEventType, state.Volumes, []events.Action{events.ActionCreate, events.ActionMount, events.ActionUnmount, events.ActionDestroy, "fill"}, object},
		{events.VolumeEventType, state.Volumes, []events.Action{events.ActionPrune}, list},
		{events.VolumeEventType, state.Containers, []events.Action{events.ActionMount, events.ActionUnmount}, object},
		{events.NetworkEventType, state.Networks, []events.Action{events.ActionCreate, events.ActionDestroy, events.ActionRemove, events.ActionUpdate, events.ActionPrune}, object},
		{events.NetworkEventType, state.Containers, []events.Action{events.ActionConnect, events.ActionDisconnect}, object},
	} {
		for _, action := range test.actions {
			m := newMarks()
			e := event{Type: test.typ, Action: action}
			e.Actor.ID, e.Actor.Attributes.Container = "id", "id"
			m.of(e, dialect{})
			_, marked := m.keys[key{test.kind, "id"}]
			urgent, listed := m.kinds[test.kind]
			got := nothing
			switch {
			case marked:
				got = object
			case urgent:
				got = list
			case listed:
				got = later
			}
			if got != test.want {
				t.Errorf("%s %s marks of the %s: %s, want %s", test.typ, action, test.kind, got, test.want)
			}
		}
	}
}

// The end of a program in a container marks it where it may have been a health check that
// changes something.
func TestMarksOfHealthChecks(t *testing.T) {
	m := &Moby{checks: map[string]bool{}}
	m.looked("bad", state.Container{HealthCheck: &state.HealthCheck{FailingStreak: 1}})
	m.looked("good", state.Container{HealthCheck: &state.HealthCheck{}})
	m.looked("none", state.Container{})
	m.looked("gone", state.Container{HealthCheck: &state.HealthCheck{}})
	m.looked("gone", nil)
	for _, test := range []struct {
		id, exitCode string
		want         bool
	}{
		{"good", "0", false}, {"good", "1", true}, {"good", "", true}, {"bad", "0", true}, {"bad", "1", true},
		{"none", "1", false}, {"gone", "1", false},
	} {
		e := event{Type: events.ContainerEventType, Action: events.ActionExecDie}
		e.Actor.ID, e.Actor.Attributes.ExitCode = test.id, test.exitCode
		all := newMarks()
		m.says(e)(&all)
		if _, marked := all.keys[key{state.Containers, test.id}]; marked != test.want {
			t.Errorf("exit code %q of %s marks: %v", test.exitCode, test.id, marked)
		}
	}
}
