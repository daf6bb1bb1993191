package objects

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// states makes successive states of one mirror: each edit gets the revision after the
// one before.
type states struct{ s state.State }

func newStates() *states {
	return &states{state.State{
		Head:         state.Head{Revision: 1, Instance: state.Instance{UID: "u"}},
		DeletedSince: 1,
		Containers:   map[string]state.Container{}, Images: map[string]state.Image{}, Volumes: map[string]state.Volume{},
	}}
}

func put[T any](s *states, objects map[string]T, key string, object T, meta func(*T) *state.Meta) {
	m := state.Meta{AddedRevision: s.s.Revision, Revision: s.s.Revision}
	if old, ok := objects[key]; ok {
		m.AddedRevision = meta(&old).AddedRevision
	}
	*meta(&object) = m
	objects[key] = object
}

func (s *states) container(key string, c state.Container) {
	c.ID = key
	put(s, s.s.Containers, key, c, func(c *state.Container) *state.Meta { return &c.Meta })
}

func (s *states) image(key string, tags ...string) {
	i := state.Image{ID: key, RepoTags: tags, CreatedAt: time.Unix(int64(len(key)), 0)}
	put(s, s.s.Images, key, i, func(i *state.Image) *state.Meta { return &i.Meta })
}

func (s *states) volume(key string) {
	put(s, s.s.Volumes, key, state.Volume{Name: key}, func(v *state.Volume) *state.Meta { return &v.Meta })
}

func (s *states) gone(kind state.Kind, key string) {
	delete(s.s.Containers, key)
	delete(s.s.Images, key)
	delete(s.s.Volumes, key)
	s.s.Deleted = append(s.s.Deleted, state.Deleted{Kind: kind, ID: key, Revision: s.s.Revision})
}

// next returns the state after an edit.
func (s *states) next(edit func()) *state.State {
	s.s.Revision++
	edit()
	copied, err := state.Parse("", []byte(mustEncode(s.s)))
	if err != nil {
		panic(err)
	}
	return copied
}

func mustEncode(s state.State) string {
	s.SchemaVersion = state.SchemaVersion
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestChanges(t *testing.T) {
	running, exited := state.Container{Name: "web", State: state.StateRunning}, state.Container{Name: "web", State: state.StateExited}
	using := func(volume string) state.Container {
		return state.Container{Name: "user", Mounts: []state.Mount{{Name: volume}}}
	}
	for name, test := range map[string]struct {
		kind, words, filters string
		format               string
		edits                []func(s *states)
		want                 []string // of each edit
	}{
		"all": {
			kind: "containers", format: "{{.Event}} {{.Names}} {{.State}}",
			edits: []func(s *states){
				func(s *states) { s.container("c1", running) },
				func(s *states) { s.container("c1", exited); s.volume("v") },
				func(s *states) { s.volume("w") },
				func(s *states) { s.gone(state.Containers, "c1") },
			},
			want: []string{"ADDED web running", "MODIFIED web exited", "", "DELETED web exited"},
		},
		"filtered": {
			kind: "containers", filters: "status=running", format: "{{.Event}} {{.Names}}",
			edits: []func(s *states){
				func(s *states) { s.container("c1", exited) },
				func(s *states) { s.container("c1", running) },
				func(s *states) { s.container("c1", exited) },
				func(s *states) { s.gone(state.Containers, "c1") },
			},
			want: []string{"", "ADDED web", "DELETED web", ""},
		},
		// The object itself does not change.
		"filtered by others": {
			kind: "volumes", filters: "dangling=true", format: "{{.Event}} {{.Name}}",
			edits: []func(s *states){
				func(s *states) { s.volume("v"); s.volume("w") },
				func(s *states) { s.container("c1", using("v")) },
				func(s *states) { s.gone(state.Containers, "c1") },
			},
			want: []string{"ADDED v, ADDED w", "DELETED v", "ADDED v"},
		},
		// What a name means may be another object later.
		"named": {
			kind: "containers", words: "web", format: "{{.Event}} {{.ID}} {{.Names}}",
			edits: []func(s *states){
				func(s *states) { s.container("c1", running); s.container("c2", using("v")) },
				func(s *states) { s.gone(state.Containers, "c1") },
				func(s *states) { s.container("c3", exited) },
				func(s *states) { s.container("c3", state.Container{Name: "old"}); s.container("c4", running) },
			},
			want: []string{"ADDED c1 web", "DELETED c1 web", "ADDED c3 web", "DELETED c3 web, ADDED c4 web"},
		},
		"recreated": {
			kind: "volumes", format: "{{.Event}} {{.Name}}",
			edits: []func(s *states){
				func(s *states) { s.volume("v") },
				func(s *states) { s.gone(state.Volumes, "v"); s.volume("v") },
			},
			want: []string{"ADDED v", "DELETED v, ADDED v"},
		},
		// Each reference of an image has a row.
		"references": {
			kind: "images", format: "{{.Event}} {{.Repository}}:{{.Tag}}",
			edits: []func(s *states){
				func(s *states) { s.image("i1", "app:1", "app:2") },
				func(s *states) { s.image("i1", "app:1", "app:3") },
				func(s *states) { s.image("i1") },
			},
			want: []string{"ADDED app:1, ADDED app:2", "DELETED app:2, MODIFIED app:1, ADDED app:3", "DELETED app:1, DELETED app:3, ADDED <none>:<none>"},
		},
		"named reference": {
			kind: "images", words: "app:1", format: "{{.Event}} {{.ID}} {{.Repository}}:{{.Tag}}",
			edits: []func(s *states){
				func(s *states) { s.image("i1", "app:1", "app:2"); s.image("i2", "other:1") },
				func(s *states) { s.image("i1", "app:2"); s.image("i2", "other:1", "app:1") },
			},
			want: []string{"ADDED i1 app:1", "DELETED i1 app:1, ADDED i2 app:1"},
		},
		"filtered reference": {
			kind: "images", filters: "reference=app:1", format: "{{.Event}} {{.Repository}}:{{.Tag}}",
			edits: []func(s *states){
				func(s *states) { s.image("i1", "app:1", "app:2") },
				func(s *states) { s.image("i1", "app:2") },
			},
			want: []string{"ADDED app:1", "DELETED app:1"},
		},
		// Another instance's file, or one that was put back.
		"not of one mirror": {
			kind: "volumes", format: "{{.Event}} {{.Name}}",
			edits: []func(s *states){
				func(s *states) { s.volume("v"); s.volume("w") },
				func(s *states) { s.s.Instance.UID = "other"; s.gone(state.Volumes, "v"); s.volume("x") },
			},
			want: []string{"ADDED v, ADDED w", "MODIFIED w, ADDED x, DELETED v"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKind(test.kind)
			if err != nil {
				t.Fatal(err)
			}
			o := testOptions(test.format)
			for _, f := range strings.Fields(test.filters) {
				if err := o.Filter.Set(f); err != nil {
					t.Fatal(err)
				}
			}
			q, err := NewQuery(k, strings.Fields(test.words), o)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			changes, s := q.Changes(&out), newStates()
			var got []string
			for _, edit := range test.edits {
				out.Reset()
				if err := changes.Show(s.next(func() { edit(s) }), time.Now()); err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.ReplaceAll(strings.TrimSpace(out.String()), "\n", ", "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A word that means nothing, or too much, is an error only when the query begins.
func TestChangesOfNothing(t *testing.T) {
	for _, words := range []string{"nothing", "c"} {
		q, err := NewQuery(Containers(), []string{words}, testOptions("table"))
		if err != nil {
			t.Fatal(err)
		}
		s := newStates()
		err = q.Changes(&bytes.Buffer{}).Show(s.next(func() {
			s.container("c1", state.Container{})
			s.container("c2", state.Container{})
		}), time.Now())
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", words)) {
			t.Errorf("%s: error %v", words, err)
		}
	}
}
