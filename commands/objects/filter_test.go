package objects

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/cli/opts"
	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func filterState() *state.State {
	at := func(minutes int) time.Time {
		return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(-time.Duration(minutes) * time.Minute)
	}
	return &state.State{
		Containers: map[string]state.Container{
			"c1": {
				ID: "c1", Name: "web", Image: "sha256:i2", State: state.StateRunning, Health: state.HealthHealthy, CreatedAt: at(10), StartedAt: at(9),
				Labels: map[string]string{"tier": "front", "empty": ""},
				Ports:  []state.Port{{ContainerPort: 80, Protocol: "tcp", HostPort: 8080}, {ContainerPort: 53, Protocol: "udp"}},
				Mounts: []state.Mount{{Type: "volume", Name: "data", Source: "/v/data", Destination: "/data"}, {Type: "bind", Source: "/src", Destination: "/dst"}},
				Networks: []state.Attachment{
					{Name: "front", ID: "n1"},
				},
			},
			"c2": {ID: "c2", Name: "web2", Image: "sha256:i3", State: state.StateExited, Health: state.HealthNone, ExitCode: 3, CreatedAt: at(20), StartedAt: at(19)},
			"d3": {ID: "d3", Name: "db", Image: "sha256:i1", State: state.StateCreated, Health: state.HealthNone, CreatedAt: at(30), Networks: []state.Attachment{{Name: "back", ID: "n2"}}},
		},
		Images: map[string]state.Image{
			"sha256:i1": {ID: "sha256:i1", RepoTags: []string{"base:1"}, CreatedAt: at(60), Labels: map[string]string{"a": "1"}},
			"sha256:i2": {ID: "sha256:i2", Parent: "sha256:i1", RepoTags: []string{"app:1", "app:2", "example.org/app:1"}, CreatedAt: at(50)},
			"sha256:i3": {ID: "sha256:i3", Parent: "sha256:i2", CreatedAt: at(40)},
			"sha256:i4": {ID: "sha256:i4", RepoDigests: []string{"d@" + digest}, CreatedAt: at(30)},
		},
		Volumes: map[string]state.Volume{
			"data": {Name: "data", Driver: "local", Labels: map[string]string{"a": "1"}},
			"free": {Name: "free", Driver: "nfs"},
		},
		Networks: map[string]state.Network{
			"n0": {ID: "n0", Name: "bridge", Driver: "bridge", Scope: "local"},
			"n1": {ID: "n1", Name: "front", Driver: "bridge", Scope: "local", Labels: map[string]string{"a": "1"}},
			"n2": {ID: "n2", Name: "back", Driver: "overlay", Scope: "swarm"},
		},
		Namespaces: map[string]state.Namespace{"moby": {Name: "moby"}},
	}
}

// The expectations are what moby answers.
func TestFilters(t *testing.T) {
	for _, test := range []struct{ kind, filters, want string }{
		{"containers", "", "c1 c2 d3"},
		{"containers", "name=web", "c1 c2"},
		{"containers", "name=^web$", "c1"},
		{"containers", "name=^/web$", "c1"},
		{"containers", "name=(", ""},
		{"containers", "name=web2 name=db", "c2 d3"},
		{"containers", "id=c", ""}, // of two
		{"containers", "id=c1", "c1"},
		{"containers", "id=c1 name=db", ""},
		{"containers", "id=d name=db", "d3"},
		{"containers", "status=running", "c1"},
		{"containers", "status=exited status=created", "c2 d3"},
		{"containers", "exited=3", "c2"},
		{"containers", "exited=0", ""},
		{"containers", "health=healthy", "c1"},
		{"containers", "health=none", "c2 d3"},
		{"containers", "label=tier", "c1"},
		{"containers", "label=tier=front", "c1"},
		{"containers", "label=tier=back", ""},
		{"containers", "label=tier label=empty=", "c1"},
		{"containers", "label=tier label=other", ""},
		{"containers", "ancestor=base:1", "c1 c2 d3"},
		{"containers", "ancestor=app:1", "c1 c2"},
		{"containers", "ancestor=docker.io/library/app:2", "c1 c2"},
		{"containers", "ancestor=i3", "c2"},
		{"containers", "ancestor=nothing", ""},
		{"containers", "before=web", "c2 d3"},
		{"containers", "before=web2", "d3"},
		{"containers", "since=d3", "c1 c2"},
		{"containers", "since=db before=web", "c2"},
		{"containers", "volume=data", "c1"},
		{"containers", "volume=/data", "c1"},
		{"containers", "volume=/dst", "c1"},
		{"containers", "volume=/src", "c1"},
		{"containers", "volume=/v/data", ""},
		{"containers", "volume=", ""},
		{"containers", "network=front", "c1"},
		{"containers", "network=n2", "d3"},
		{"containers", "network=n", "c1 d3"},
		{"containers", "network=fro", ""},
		{"containers", "publish=8080", "c1"},
		{"containers", "publish=80", ""},
		{"containers", "publish=8000-8100/tcp", "c1"},
		{"containers", "expose=80", "c1"},
		{"containers", "expose=53", ""},
		{"containers", "expose=53/udp", "c1"},
		{"containers", "expose=1 publish=8080", "c1"},

		{"images", "", "i1 i2 i3 i4"},
		{"images", "dangling=true", "i3 i4"},
		{"images", "dangling=false", "i1 i2 i4"},
		{"images", "label=a", "i1"},
		{"images", "reference=app", "i2"},
		{"images", "reference=app:*", "i2"},
		{"images", "reference=*", "i1 i2 i4"},
		{"images", "reference=docker.io/library/base:1", "i1"},
		{"images", "reference=*/app", "i2"},
		{"images", "reference=nothing", ""},
		{"images", "before=app:1", "i1"},
		{"images", "since=app:1", "i3 i4"},
		{"images", "since=base:1 before=i4", "i2 i3"},
		{"images", "until=2026-01-01T11:15:00Z", "i1 i2"},

		{"volumes", "", "data free"},
		{"volumes", "dangling=true", "free"},
		{"volumes", "dangling=0", "data"},
		{"volumes", "driver=local", "data"},
		{"volumes", "name=re", "free"},
		{"volumes", "label=a=1", "data"},

		{"networks", "", "n0 n1 n2"},
		{"networks", "dangling=true", "n2"},
		{"networks", "dangling=false", "n0 n1"},
		{"networks", "driver=overlay", "n2"},
		{"networks", "scope=local", "n0 n1"},
		{"networks", "type=builtin", "n0"},
		{"networks", "type=custom", "n1 n2"},
		{"networks", "name=fr", "n1"},
		{"networks", "id=n0", "n0"},
		{"networks", "label=a", "n1"},

		{"namespaces", "name=mo", "moby"},
		{"namespaces", "name=x", ""},
	} {
		t.Run(test.kind+" "+test.filters, func(t *testing.T) {
			k, match, err := compile(test.kind, test.filters)
			if err != nil {
				t.Fatal(err)
			}
			s := filterState()
			var got []string
			for _, key := range k.keys(s) {
				if match(key) {
					got = append(got, strings.TrimPrefix(key, "sha256:"))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(strings.Fields(test.want), got, cmp.Transformer("", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func compile(name, filters string) (*Kind, func(string) bool, error) {
	flag := opts.NewFilterOpt()
	for _, f := range strings.Fields(filters) {
		if err := flag.Set(f); err != nil {
			return nil, nil, err
		}
	}
	k, err := ParseKind(name)
	if err != nil {
		return nil, nil, err
	}
	f, err := parseFilters(k, flag)
	if err != nil {
		return k, nil, err
	}
	match, err := k.match(newView(filterState(), testOptions("table"), time.Now()), f)
	return k, match, err
}

func TestFiltersRefuse(t *testing.T) {
	for _, test := range []struct{ kind, filters string }{
		{"containers", "is-task=true"},
		{"containers", "isolation=default"},
		{"containers", "dangling=true"},
		{"containers", "status=flying"},
		{"containers", "health=fine"},
		{"containers", "exited=many"},
		{"containers", "before=nothing"},
		{"containers", "since=web before=nothing"},
		{"containers", "publish=http"},
		{"containers", "expose=80:80"},
		{"images", "dangling=perhaps"},
		{"images", "dangling=true dangling=false"},
		{"images", "before=nothing"},
		{"images", "until=soon"},
		{"images", "reference=["},
		{"images", "name=app"},
		{"volumes", "dangling=perhaps"},
		{"volumes", "scope=local"},
		{"networks", "type=mine"},
		{"namespaces", "label=a"},
	} {
		if _, _, err := compile(test.kind, test.filters); failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s %s: error %v, want a refusal", test.kind, test.filters, err)
		}
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Time{
		"10m":                       now.Add(-10 * time.Minute),
		"2026-01-01T00:00:00Z":      time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01T01:00:00+01:00": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01T01:30+01:00":    time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC),
		"2026-01-01T01Z":            time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC),
		"2026-01-01":                time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local),
		"2026-01-01T10:11":          time.Date(2026, 1, 1, 10, 11, 0, 0, time.Local),
		"1700000000":                time.Unix(1700000000, 0),
		"1700000000.25":             time.Unix(1700000000, 250000000),
	} {
		got, err := ParseMoment(value, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("ParseMoment(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "soon", "12.x", "2026-13-01"} {
		if got, err := ParseMoment(value, now); err == nil {
			t.Errorf("ParseMoment(%q) = %v, want an error", value, got)
		}
	}
}

// A time that is read from any text is read again from its own.
func FuzzParseMoment(f *testing.F) {
	f.Add("10m")
	f.Add("2026-01-01T00:00:00Z")
	f.Add("1700000000.25")
	f.Fuzz(func(t *testing.T, value string) {
		now := time.Unix(1700000000, 0)
		first, err := ParseMoment(value, now)
		if err != nil || first.Year() < 0 || first.Year() > 9999 {
			return
		}
		text := first.UTC().Format(time.RFC3339Nano)
		if again, err := ParseMoment(text, now); err != nil || !again.Equal(first) {
			t.Errorf("ParseMoment(%q) = %v; of its own text %q: %v, %v", value, first, text, again, err)
		}
	})
}
