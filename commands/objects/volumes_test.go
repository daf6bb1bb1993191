package objects

import (
	"slices"
	"testing"

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
