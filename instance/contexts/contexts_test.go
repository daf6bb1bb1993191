//go:build !windows

package contexts

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
)

// newInstance returns an instance that nobody has started.
func newInstance(t *testing.T) *instance.Instance {
	t.Helper()
	home := t.TempDir()
	t.Setenv(instance.HomeEnv, home)
	config := filepath.Join(home, "docker")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	roots, err := instance.DefaultRoots()
	if err != nil {
		t.Fatal(err)
	}
	i, _, err := instance.Create(t.Context(), instance.New(roots, "default", config, instance.DefaultSettings()))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func options(t *testing.T, dir string) dockercontext.Options {
	t.Helper()
	o, err := Options(dir)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A context is ours if it has the uid of an instance, not because it looks like it.
func TestOwnerIsAnInstance(t *testing.T) {
	i := newInstance(t)
	owns := func(owner dockercontext.Owner) bool {
		return options(t, i.DockerConfig).Owners.State(owner) != dockercontext.NoInstance
	}
	own := Owner(i)
	for _, tc := range []struct {
		owner dockercontext.Owner
		want  bool
	}{
		{own, true},
		{dockercontext.Owner{UID: "imported", Context: own.Context}, false},
		{dockercontext.Owner{UID: own.UID, Context: "rd-other"}, false},
	} {
		if got := owns(tc.owner); got != tc.want {
			t.Errorf("owns(%+v) = %v", tc.owner, got)
		}
	}
	// Of one that can't be read, nobody knows.
	if err := os.WriteFile(i.Paths.InstanceFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !owns(own) {
		t.Error("the context of a damaged instance is not its own")
	}
}

// Whether an engine has a supervisor can't be determined without its lock: then the engine is not gone,
// and its context stays.
func TestStateWithoutLock(t *testing.T) {
	i := newInstance(t)
	i.Settings.Driver, i.Settings.Host = instance.DriverExisting, "unix:///nonexistent.sock"
	if s := stateOf(i); s != dockercontext.Gone {
		t.Errorf("an engine that was never started is %d", s)
	}
	lock := i.Paths.SupervisorLock()
	if err := os.Symlink(filepath.Base(lock), lock); err != nil { // a circle
		t.Fatal(err)
	}
	if s := stateOf(i); s != dockercontext.Away {
		t.Errorf("an engine whose lock can't be opened is %d", s)
	}
}

// One Docker configuration has one promotion record, whatever it is called.
func TestOptions(t *testing.T) {
	i := newInstance(t)
	home := filepath.Dir(i.DockerConfig)
	if err := os.Symlink(home, filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	record := func(dir string) string { return options(t, dir).RecordFile }
	for _, dir := range []string{home + "/link/docker", home + "/docker/", home + "/link/link/./docker"} {
		if record(dir) != record(i.DockerConfig) {
			t.Errorf("%s has a record of its own", dir)
		}
	}
	if a, b := record(home+"/none/such"), record(home+"/link/none/such"); a != b || a == record(home+"/none") {
		t.Errorf("records of a directory that is missing: %s, %s", a, b)
	}
}

func TestDefaultSockets(t *testing.T) {
	t.Setenv(SocketsEnv, "/run/a.sock:b.sock::/run/c.sock")
	if got := defaultSockets(); !slices.Equal(got, []string{"/run/a.sock", "/run/c.sock"}) {
		t.Errorf("default sockets %q", got)
	}
	t.Setenv(SocketsEnv, "")
	if got := defaultSockets(); len(got) > 0 {
		t.Errorf("default sockets %q, want none", got)
	}
}
