package state_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// put replaces the file as the supervisor does.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := files.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if _, err := state.Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := state.ReadHead(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	whole := encode(t, state.State{
		Head: state.Head{
			SchemaVersion: 1, Revision: 5, Instance: state.Instance{UID: "u"},
			Conditions: []state.Condition{{Type: state.Ready, Status: state.True, LastTransitionTime: time.Unix(1, 0)}},
		},
		Containers: map[string]state.Container{"c": {ID: "c", Name: "n"}},
	})
	for name, content := range map[string]string{
		"empty": "", "blank": " \n", "torn": whole[:len(whole)-20], "torn in its head": whole[:40], "list": "[]", "text": "hello",
		"no version": "{}", "wrong type": strings.Replace(whole, `"n"`, `7`, 1), "two": whole + whole,
	} {
		put(t, path, content)
		if _, err := state.Read(path); !errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), strconv.Quote(path)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range strings.Index(whole, `"containers"`) {
		put(t, path, whole[:n])
		if _, err := state.ReadHead(path); !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("head torn after %q: %v", whole[:n], err)
		}
	}
	put(t, path, `{"schemaVersion":2,"revision":"of another type","containers":[]}`)
	for _, read := range []func(string) (*state.State, error){state.Read, state.ReadHead} {
		_, err := read(path)
		if newer, ok := errors.AsType[*state.NewerSchemaError](err); !ok || newer.Version != 2 || newer.Path != path {
			t.Errorf("newer: %v", err)
		}
	}
	put(t, path, strings.Replace(whole, `"revision"`, `"field of a later version":{"containers":[1]},"revision"`, 1))
	s, err := state.Read(path)
	if err != nil || s.Revision != 5 || s.Containers["c"].Name != "n" {
		t.Errorf("got %+v, %v", s, err)
	}
	head, err := state.ReadHead(path)
	if err != nil || head.Revision != 5 || head.Instance.UID != "u" || len(head.Containers) != 0 {
		t.Errorf("got %+v, %v", head, err)
	}
	if c, ok := head.Condition(state.Ready); !ok || c.Status != state.True {
		t.Errorf("condition %+v, %v", c, ok)
	}
	if c, ok := head.Condition("Other"); ok || c.Status != state.Unknown {
		t.Errorf("condition %+v, %v", c, ok)
	}
}

// Lists and maps are never null, zero times are left out, in all types.
func TestNeverNull(t *testing.T) {
	for _, v := range []any{
		state.State{}, state.Container{}, state.Image{}, state.Volume{}, state.Network{}, state.Namespace{},
		state.Supervisor{}, state.Condition{}, state.LastAction{}, state.Deletion{},
	} {
		text := encode(t, v)
		if strings.Contains(text, "null") || strings.Contains(text, "0001-01-01") {
			t.Errorf("%T is %s", v, text)
		}
		// Whole: none of the embedded fields took over the encoding.
		if n := reflect.TypeOf(v).NumField(); strings.Count(text, `"`) < n {
			t.Errorf("%T is %s", v, text)
		}
	}
}

func meta(added, revision uint64) state.Meta {
	return state.Meta{AddedRevision: added, Revision: revision}
}

// lines is the changes in short.
func lines(changes []state.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s %s", c.Revision, c.Type, c.Kind, c.ID)))
	}
	return out
}

func TestChanges(t *testing.T) {
	old := &state.State{
		Head: state.Head{Revision: 10},
		Containers: map[string]state.Container{
			"same": {Meta: meta(1, 2)}, "changed": {Meta: meta(1, 3)}, "gone": {Meta: meta(1, 4)}, "again": {Meta: meta(1, 5)},
		},
		Volumes: map[string]state.Volume{"v": {Meta: meta(7, 7)}},
	}
	next := &state.State{
		Head: state.Head{Revision: 20},
		Containers: map[string]state.Container{
			"same": {Meta: meta(1, 2)}, "changed": {Meta: meta(1, 12)}, "new": {Meta: meta(13, 14)}, "again": {Meta: meta(16, 17)},
		},
		Networks: map[string]state.Network{"n": {Meta: meta(20, 20)}},
		Deleted: []state.Deleted{
			{Kind: state.Volumes, ID: "v", Revision: 11}, {Kind: state.Containers, ID: "gone", Revision: 15}, {Kind: state.Containers, ID: "again", Revision: 15},
			{Kind: state.Containers, ID: "came and went", Revision: 18},
		},
		DeletedSince: 9,
	}
	all := []string{
		"2 ADDED containers same", "12 ADDED containers changed", "14 ADDED containers new", "17 ADDED containers again", "20 ADDED networks n",
	}
	want := []string{
		"11 DELETED volumes v", "12 MODIFIED containers changed", "14 ADDED containers new", "15 DELETED containers again",
		"15 DELETED containers gone", "17 ADDED containers again", "18 DELETED containers came and went", "20 ADDED networks n",
	}
	check := func(what string, got []state.Change, want []string) {
		t.Helper()
		if !reflect.DeepEqual(lines(got), want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(lines(got), "\n"), strings.Join(want, "\n"))
		}
	}
	check("Changes", state.Changes(old, next), want)
	check("Since 10", next.Since(10), want)
	check("Since 9", next.Since(9), want)
	check("Since 20", next.Since(20), nil)
	check("Since 17", next.Since(17), []string{"18 DELETED containers came and went", "20 ADDED networks n"})
	check("Changes of nothing", state.Changes(next, next), nil)
	check("from nothing", state.Changes(nil, next), all)
	check("Since 0", next.Since(0), all)

	resync := append([]string{"20 RESYNC"}, all...)
	check("too far back", next.Since(8), resync)
	check("from the future", next.Since(21), resync)
	other := *old
	other.Instance.UID = "other"
	check("of another instance", state.Changes(&other, next), resync)
	later := *old
	later.Revision = 21
	check("of an older file", state.Changes(&later, next), resync)

	// The bounded list has forgotten.
	short := *next
	short.Deleted, short.DeletedSince = nil, 19
	check("without the list", state.Changes(old, &short), resync)
}

func TestChangeLine(t *testing.T) {
	c := state.Change{Revision: 3, Type: state.Added, Kind: state.Namespaces, ID: "moby", Object: state.Namespace{Name: "moby", Meta: meta(3, 3)}}
	want := `{"revision":3,"type":"ADDED","kind":"namespaces","id":"moby","object":{"name":"moby","addedRevision":3,"revision":3}}`
	if got := encode(t, c); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":1,"revision":3,"containers":{"c":{"id":"c","createdAt":"2026-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"schemaVersion":2}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := state.Parse("p", data)
		if err != nil {
			corrupt := errors.Is(err, state.ErrCorrupt)
			_, newer := errors.AsType[*state.NewerSchemaError](err)
			if !corrupt && !newer {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		again, err := state.Parse("p", []byte(encode(t, s)))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := encode(t, s), encode(t, again); a != b {
			t.Fatalf("%s became %s", a, b)
		}
		_ = s.Since(s.Revision / 2)
		_ = state.Changes(s, again)
	})
}
