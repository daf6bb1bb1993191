package objects

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// In a containerd, volumes are of namespaces, which need not be named.
func TestVolumesOfNamespaces(t *testing.T) {
	s := &state.State{
		Volumes: map[string]state.Volume{
			"a/data": {Name: "a/data", Namespace: "a"}, "b/data": {Name: "b/data", Namespace: "b"}, "b/only": {Name: "b/only", Namespace: "b"},
		},
		Containers: map[string]state.Container{
			"b/1": {ID: "b/1", Namespace: "b", Mounts: []state.Mount{{Type: "volume", Name: "data"}}},
		},
	}
	for word, want := range map[string][]string{"only": {"b/only"}, "b/only": {"b/only"}, "data": {"a/data", "b/data"}, "none": nil} {
		found := Volumes().find(s, word)
		slices.Sort(found)
		if !slices.Equal(found, want) {
			t.Errorf("%q finds %q, want %q", word, found, want)
		}
	}
	f := filterSet{"dangling": {"true": true}}
	match, err := matchVolumes(&view{State: s}, f)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"a/data": true, "b/data": false, "b/only": true} {
		if match(key) != want {
			t.Errorf("%q is dangling: %t", key, !want)
		}
	}
}

// Two namespaces of a containerd may have an image of the same name.
func TestImagesOfNamespaces(t *testing.T) {
	const name = "docker.io/library/app:1"
	s := &state.State{
		Images: map[string]state.Image{"a/" + digest: {RepoTags: []string{name}}, "b/" + digest: {RepoTags: []string{name}}},
		Containers: map[string]state.Container{
			"a/1": {ID: "a/1", Name: "one", ImageRef: name, Image: "a/" + digest},
			"b/2": {ID: "b/2", Name: "two", ImageRef: name, Image: "b/" + digest},
		},
	}
	for ancestor, want := range map[string]string{"app:1": "one app:1\ntwo app:1\n", "b/app:1": "two app:1\n", digest: ""} {
		o := testOptions("{{.Names}} {{.Image}}")
		err := o.Filter.Set("ancestor=" + ancestor)
		if err != nil {
			t.Fatal(err)
		}
		q, err := NewQuery(Containers(), nil, o)
		var out strings.Builder
		if err == nil {
			err = q.Write(&out, s, time.Now())
		}
		if err != nil || out.String() != want {
			t.Errorf("containers of %q: %q (%v), want %q", ancestor, out.String(), err, want)
		}
	}
}
