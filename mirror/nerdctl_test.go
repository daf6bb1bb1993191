package mirror

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// nerdctlDir makes files as nerdctl does.
func nerdctlDir(t *testing.T, files map[string]string) nerdctlFiles {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return nerdctlFiles(dir)
}

// What nerdctl keeps in files: volumes, networks, and the ports of containers.
func TestNerdctlFiles(t *testing.T) {
	f := nerdctlDir(t, map[string]string{
		"nerdctl/1a2b3c4d/volumes/default/data/volume.json":          `{"Labels":{"a":"b"}}`,
		"nerdctl/1a2b3c4d/volumes/k8s/data/volume.json":              `torn`,
		"nerdctl/1a2b3c4d/volumes/default/half/_data/x":              "no volume yet",
		"cni/net.d/nerdctl-bridge.conflist":                          `{"name":"bridge","nerdctlID":"17f2","nerdctlLabels":{"nerdctl/default-network":"true"},"plugins":[{"type":"bridge","ipam":{"ranges":[[{"gateway":"10.4.0.1","subnet":"10.4.0.0/24"}],[{"subnet":"fd00:1::/64"}]]}},{"type":"portmap"}]}`,
		"cni/net.d/k8s/nerdctl-own.conflist":                         `{"name":"own","plugins":[{"type":"macvlan","ipam":{"subnet":"10.9.0.0/16"}}]}`,
		"cni/net.d/torn.conflist":                                    `{"name":`,
		"cni/net.d/other.conf":                                       `{"name":"other","type":"bridge"}`,
		"nerdctl/1a2b3c4d/containers/default/c1/network-config.json": `{"portMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"0.0.0.0"},{"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"127.0.0.1"}]}`,
	})
	volumes, err := f.volumes(t.Context())
	if err != nil || len(volumes) != 2 {
		t.Fatalf("volumes: %+v, %v", volumes, err)
	}
	v := volumes[0].(state.Volume)
	if v.CreatedAt.IsZero() {
		t.Error("the volume has no date")
	}
	v.CreatedAt = time.Time{}
	if want := (state.Volume{
		Name: "default/data", Namespace: "default", Driver: "local", Scope: "local", Labels: map[string]string{"a": "b"},
		Mountpoint: filepath.Join(f.root(), "1a2b3c4d", "volumes", "default", "data", "_data"),
	}); !reflect.DeepEqual(v, want) {
		t.Errorf("volume %+v, want %+v", v, want)
	}
	networks, err := f.networks(t.Context())
	if want := []any{
		state.Network{ID: "default/17f2", Name: "bridge", Namespace: "default", Driver: "bridge", Scope: "local", IPv6: true, Subnets: []string{"10.4.0.0/24", "fd00:1::/64"}, Gateways: []string{"10.4.0.1", ""}, Labels: map[string]string{"nerdctl/default-network": "true"}},
		state.Network{ID: "k8s/own", Name: "own", Namespace: "k8s", Driver: "macvlan", Scope: "local", Subnets: []string{"10.9.0.0/16"}, Gateways: []string{""}},
	}; err != nil || !reflect.DeepEqual(networks, want) {
		t.Errorf("networks %+v, %v, want %+v", networks, err, want)
	}
	// Versions before 2 have the ports in a label.
	label := readNerdctl(map[string]string{"nerdctl/ports": `[{"HostPort":9,"ContainerPort":7,"Protocol":"tcp","HostIP":"::1"}]`})
	if got, want := f.ports("default", label), []state.Port{{ContainerPort: 7, Protocol: "tcp", HostIP: "::1", HostPort: 9}}; !reflect.DeepEqual(got, want) {
		t.Errorf("ports %+v, want %+v", got, want)
	}
	file := nerdctl{stateDir: filepath.Join(f.root(), "1a2b3c4d", "containers", "default", "c1")}
	if got, want := f.ports("default", file), []state.Port{{ContainerPort: 53, Protocol: "udp", HostIP: "127.0.0.1", HostPort: 53}, {ContainerPort: 80, Protocol: "tcp", HostIP: "0.0.0.0", HostPort: 8080}}; !reflect.DeepEqual(got, want) {
		t.Errorf("ports %+v, want %+v", got, want)
	}
}

// A label can say anything, and what it says is removed with the container.
func TestForget(t *testing.T) {
	f := nerdctlDir(t, map[string]string{
		"nerdctl/1a2b3c4d/containers/default/c1/log":          "",
		"nerdctl/1a2b3c4d/volumes/default/data/volume.json":   "{}",
		"nerdctl/1a2b3c4d/names/default/web":                  "c1",
		"nerdctl/1a2b3c4d/names/default/db":                   "c2",
		"nerdctl/1a2b3c4d/etchosts/default/c1/hosts":          "",
		"outside/containers/default/c1/log":                   "",
		"nerdctlx/1a2b3c4d/containers/default/c1/log":         "",
		"nerdctl/1a2b3c4d/containers/k8s/c1/log":              "",
		"nerdctl/1a2b3c4d/containers/default/c1/deeper/there": "",
	})
	c := &Containerd{files: f}
	forget := func(dir string) {
		t.Helper()
		one := &containersapi.Container{ID: "c1", Labels: map[string]string{"nerdctl/name": "web", "nerdctl/state-dir": dir}}
		if err := c.Forget("default", one); err != nil {
			t.Error(err)
		}
	}
	count := func() (n int) {
		_ = filepath.WalkDir(string(f), func(string, os.DirEntry, error) error { n++; return nil })
		return n
	}
	all := count()
	store := filepath.Join(f.root(), "1a2b3c4d")
	for _, dir := range []string{
		"", "/", f.root(), store, store + "/volumes", store + "/volumes/default", store + "/volumes/default/data", store + "/containers/default",
		store + "/containers/k8s/c1", store + "/containers/default/c1/deeper", f.root() + "/../outside/containers/default/c1", f.root() + "x/1a2b3c4d/containers/default/c1",
	} {
		if forget(dir); count() != all {
			t.Fatalf("%q is removed", dir)
		}
	}
	forget(store + "/containers/default/c1/")
	for _, gone := range []string{"containers/default/c1", "etchosts/default/c1", "names/default/web"} {
		if _, err := os.Lstat(filepath.Join(store, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if removed := all - count(); removed != 7 {
		t.Errorf("%d files and directories are removed, want 7", removed)
	}
}

// What labels, a task and a specification make of a container.
func TestContainerdContainer(t *testing.T) {
	wine.Skip(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &Containerd{files: nerdctlDir(t, nil)}
	one := &containersapi.Container{
		ID: "c1", Image: "docker.io/library/app:1", CreatedAt: timestamppb.New(at),
		Labels: map[string]string{
			"nerdctl/name": "web", "nerdctl/networks": `["own","bridge"]`, "containerd.io/restart.policy": "on-failure:3",
			"nerdctl/healthstate": `{"Status":"unhealthy","FailingStreak":3}`, "nerdctl/error": "no such program", "nerdctl/auto-remove": "true",
			"containerd.io/restart.count": "2", "com.docker.compose.project": "p",
			"nerdctl/mounts": `[{"Type":"volume","Name":"data","Source":"/x/_data","Destination":"/data","RW":true}]`,
		},
		Spec: &anypb.Any{Value: []byte(`{"process":{"args":["/prog","sleep"],"env":["SECRET=1"]},"linux":{"resources":{"memory":{"limit":1048576},"cpu":{"shares":5,"quota":-1}}},"mounts":[{"destination":"/proc","type":"proc","source":"proc"}]}`)},
	}
	got := c.container("default", one, &task.Process{ID: "c1", Status: task.Status_STOPPED, ExitStatus: 3, ExitedAt: timestamppb.New(at.Add(time.Minute))}, "sha256:1")
	want := state.Container{
		ID: "default/c1", Name: "web", Namespace: "default", Image: "default/sha256:1", ImageRef: "docker.io/library/app:1",
		Path: "/prog", Args: []string{"sleep"}, Labels: one.Labels, Compose: &state.Compose{Project: "p"}, Limits: &state.Limits{Memory: 1 << 20, CPUShares: 5}, State: state.StateExited, ExitCode: 3,
		Health: state.HealthUnhealthy, HealthCheck: &state.HealthCheck{FailingStreak: 3}, Error: "no such program", AutoRemove: true,
		RestartPolicy: state.RestartPolicy{Name: "on-failure", MaximumRetryCount: 3}, RestartCount: 2, CreatedAt: at, FinishedAt: at.Add(time.Minute),
		Networks: []state.Attachment{{Name: "bridge"}, {Name: "own"}},
		Mounts:   []state.Mount{{Type: "volume", Name: "data", Source: "/x/_data", Destination: "/data"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("container\n%+v, want\n%+v", got, want)
	}
	for check, want := range map[string]string{`{"Test":["CMD","x"]}`: state.HealthStarting, `{"Test":["NONE"]}`: state.HealthNone} {
		one.Labels = map[string]string{"nerdctl/healthcheck": check}
		if got := c.container("default", one, nil, ""); got.Health != want {
			t.Errorf("health check %s: %q, want %q", check, got.Health, want)
		}
	}
	one.Labels, one.Spec.Value = nil, []byte(`{"mounts":[{"destination":"/b","type":"bind","source":"/host","options":["rbind","ro"]}]}`)
	got = c.container("default", one, &task.Process{ID: "c1", Status: task.Status_RUNNING, Pid: 7}, "")
	want = state.Container{
		ID: "default/c1", Name: "c1", Namespace: "default", ImageRef: "docker.io/library/app:1", State: state.StateRunning, Health: state.HealthNone,
		PID: 7, RestartPolicy: state.RestartPolicy{Name: "no"}, CreatedAt: at, Mounts: []state.Mount{{Type: "bind", Source: "/host", Destination: "/b", ReadOnly: true}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("container\n%+v, want\n%+v", got, want)
	}
}

// Versions of nerdctl keep a container's mounts in one label, or in one for each.
func TestNerdctlMounts(t *testing.T) {
	want := []state.Mount{{Type: "volume", Name: "v", Destination: "/a"}, {Type: "bind", Source: "/x", Destination: "/b", ReadOnly: true}}
	const first, second = `{"Type":"volume","Name":"v","Destination":"/a","RW":true}`, `{"Type":"bind","Source":"/x","Destination":"/b"}`
	for _, labels := range []map[string]string{
		{"nerdctl/mounts": "[" + first + "," + second + "]"},
		{"nerdctl/mounts.0": first, "nerdctl/mounts.1": second},
	} {
		if got := readNerdctl(labels).mounts; !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", labels, got, want)
		}
	}
	if got := readNerdctl(nil).mounts; got != nil {
		t.Errorf("of another client: %+v", got)
	}
	if got := readNerdctl(map[string]string{"nerdctl/state-dir": "/x"}).mounts; got == nil || len(got) > 0 {
		t.Errorf("without a mount: %+v", got)
	}
}

// What each of containerd's events marks.
func TestContainerdEvents(t *testing.T) {
	for _, test := range []struct {
		topic, first, second string
		keys                 []key
		kinds                map[state.Kind]bool
	}{
		{topic: "/containers/create", first: "c", keys: []key{{state.Containers, "n/c"}}},
		{topic: "/containers/delete", first: "c", keys: []key{{state.Containers, "n/c"}}},
		{topic: "/tasks/start", first: "c", keys: []key{{state.Containers, "n/c"}}},
		{topic: "/tasks/exit", first: "c", second: "c", keys: []key{{state.Containers, "n/c"}}},
		{topic: "/tasks/exit", first: "c", second: "exec"},
		{topic: "/tasks/exec-started", first: "c", second: "exec"},
		{topic: "/images/create", first: "i", kinds: map[state.Kind]bool{state.Images: true, state.Containers: true}},
		{topic: "/namespaces/create", first: "x", kinds: map[state.Kind]bool{state.Namespaces: true}},
		{topic: "/snapshot/prepare", first: "s"},
		{topic: "/content/create", first: "s"},
	} {
		m := newMarks()
		m.ofContainerd(&types.Envelope{Topic: test.topic, Namespace: "n"}, test.first, test.second)
		var keys []key
		for k := range m.keys {
			keys = append(keys, k)
		}
		if !reflect.DeepEqual(keys, test.keys) || len(m.kinds) != len(test.kinds) || len(test.kinds) > 0 && !reflect.DeepEqual(m.kinds, test.kinds) {
			t.Errorf("%s %q %q marks %v and %v, want %v and %v", test.topic, test.first, test.second, keys, m.kinds, test.keys, test.kinds)
		}
	}
}
