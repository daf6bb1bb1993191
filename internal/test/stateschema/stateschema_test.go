package stateschema_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/docker-rd/docker-rd/internal/test/stateschema"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func full() state.State {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	meta := state.Meta{AddedRevision: 1, Revision: 2}
	compose := &state.Compose{Project: "p", Service: "s"}
	deletion := &state.Deletion{Request: "r", RequestedAt: now, Error: "in use"}
	return state.State{
		Head: state.Head{
			SchemaVersion: state.SchemaVersion, Revision: 2, WrittenAt: now,
			Supervisor:  &state.Supervisor{PID: 1, StartedAt: now, StartTicks: 5, BootID: "b", Version: "v"},
			Instance:    state.Instance{UID: "u", CreatedAt: now},
			Engine:      state.Engine{StartedAt: now},
			Conditions:  []state.Condition{{Type: state.Ready, Status: state.True, Reason: state.ReasonConnected, LastTransitionTime: now}},
			LastFailure: &state.Failure{Reason: state.ReasonExited, Message: "m", Time: now},
			Mirror:      state.Mirror{SyncedAt: now},
		},
		Containers: map[string]state.Container{"c": {
			Args: []string{"a"}, Labels: map[string]string{"a": "b"}, State: state.StateRunning, Health: state.HealthNone,
			CreatedAt: now, StartedAt: now, FinishedAt: now,
			Ports: []state.Port{{}}, Mounts: []state.Mount{{}}, Networks: []state.Attachment{{}},
			LastAction: &state.LastAction{Action: "start", State: state.ActionFailed, RequestedAt: now, CompletedAt: now},
			Compose:    compose, HealthCheck: &state.HealthCheck{FailingStreak: 1, LastOutput: "no"}, Limits: &state.Limits{Memory: 1},
			PortBindings: []state.Port{{}}, ExposedPorts: []string{"80/tcp"},
			Usage:    &state.ContainerUsage{SizeRw: 1, MeasuredAt: now},
			Action:   &state.Action{Action: "stop", RequestedAt: now},
			Deletion: deletion, Meta: meta,
		}},
		Images: map[string]state.Image{"i": {
			RepoTags: []string{"t"}, CreatedAt: now, Deletions: map[string]state.Deletion{"t": *deletion},
			Usage: &state.ImageUsage{SharedSize: 1, MeasuredAt: now}, Meta: meta,
		}},
		Volumes: map[string]state.Volume{"v": {
			CreatedAt: now, Deletion: deletion, Compose: compose, Usage: &state.VolumeUsage{Size: 1, MeasuredAt: now}, Meta: meta,
		}},
		Networks:   map[string]state.Network{"n": {Subnets: []string{"10.0.0.0/8"}, CreatedAt: now, Deletion: deletion, Compose: compose, Meta: meta}},
		Namespaces: map[string]state.Namespace{"moby": {Name: "moby", Meta: meta}},
		Deleted:    []state.Deleted{{Kind: state.Containers, ID: "x", Name: "n", Revision: 2, DeletedAt: now}},
	}
}

func TestValidate(t *testing.T) {
	data, err := json.Marshal(full(), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := stateschema.Validate(data); err != nil {
		t.Errorf("a full state: %v", err)
	}
	for _, change := range [][2]string{
		{`"schemaVersion":1`, `"schemaVersion":2`},
		{`"revision":2`, `"revision":"2"`},
		{`"revision":2`, `"revisoin":2`},
		{`"args":["a"]`, `"args":null`},
		{`T03:04:05Z`, `T03:04:05+01:00`},
		{`"state":"running"`, `"state":"walking"`},
		{`"repoTags":["t"],`, ``},
		{`"pid":1`, `"pid":1,"env":["SECRET=1"]`},
		{`"failingStreak":1`, `"failingStreak":"1"`},
	} {
		text := strings.Replace(string(data), change[0], change[1], 1)
		if text == string(data) {
			t.Errorf("there is no %s", change[0])
		}
		if stateschema.Validate([]byte(text)) == nil {
			t.Errorf("%s is accepted", change[1])
		}
	}
}

// A program that takes the schema at its word goes on when a later docker rd writes more.
func TestUnknownFields(t *testing.T) {
	data, err := json.Marshal(full(), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"revision":2`, `"pid":1`, `"name":"moby"`, `"kind":"containers"`} {
		text := strings.Replace(string(data), field, field+`,"later":{}`, 1)
		if text == string(data) {
			t.Errorf("there is no %s", field)
		}
		if err := stateschema.ValidateAsReader([]byte(text)); err != nil {
			t.Errorf("with a field beside %s: %v", field, err)
		}
	}
}

// What was written in this format once is valid and can be read as long as it is.
func TestWritten(t *testing.T) {
	const path = "../../../mirror/state/testdata/state.json"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := stateschema.Validate(data); err != nil {
		t.Error(err)
	}
	s, err := state.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.ReplaceAll(string(data), "\n", ""), string(again); got != want {
		t.Errorf("%s\nis read as\n%s", got, want)
	}
}
