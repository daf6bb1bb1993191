//go:build !windows

package dockercontext

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/docker/cli/cli/context/docker"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestCreate(t *testing.T) {
	f := setup(t)
	at := func(host string) endpoint.Endpoint { return endpoint.Endpoint{Host: host} }
	f.wantOutcome(f.Create(t.Context(), rd, at("unix:///a"), "first"), state.ReasonCreated, true)
	before := f.tree()
	f.wantOutcome(f.Create(t.Context(), rd, at("unix:///a"), "first"), state.ReasonCreated, false)
	if after := f.tree(); after != before {
		t.Errorf("creating it again wrote:\n%s%s", before, after)
	}
	f.wantOutcome(f.Ready(rd, endpoint.Endpoint{}), state.ReasonCreated, false)

	// What the user made of it stays when the endpoint moves.
	m, err := f.store.GetMetadata("rd")
	if err != nil {
		t.Fatal(err)
	}
	fields := m.Metadata.(map[string]any)
	fields["Description"], fields["GODEBUG"] = "mine", "x=1"
	m.Endpoints["kubernetes"] = map[string]any{"Host": "k"}
	if err := f.store.CreateOrUpdate(m); err != nil {
		t.Fatal(err)
	}
	f.wantOutcome(f.Create(t.Context(), rd, at("unix:///b"), "second"), state.ReasonCreated, true)
	m, err = f.store.GetMetadata("rd")
	if err != nil {
		t.Fatal(err)
	}
	fields = m.Metadata.(map[string]any)
	if fields["Description"] != "mine" || fields["GODEBUG"] != "x=1" || m.Endpoints["kubernetes"] == nil {
		t.Errorf("what the user wrote is gone: %+v", m)
	}
	if m.Endpoints[docker.DockerEndpoint] != (docker.EndpointMeta{Host: "unix:///b"}) {
		t.Errorf("the endpoint is %+v", m.Endpoints)
	}
	if owner, ok := f.OwnerOf("rd"); !ok || owner != rd {
		t.Errorf("Owner = %+v, %v", owner, ok)
	}
	f.wantOutcome(f.Create(t.Context(), Owner{}, at("unix:///a"), ""), state.ReasonNotApplicable, false)
	f.wantOutcome(f.Create(t.Context(), Owner{UID: "u", Context: "a/b"}, at("unix:///a"), ""), state.ReasonFailed, false)
	f.wantOutcome(f.Create(t.Context(), Owner{UID: "u", Context: "default"}, at("unix:///a"), ""), state.ReasonFailed, false)
}

func TestCreateWithTLS(t *testing.T) {
	f := setup(t)
	ca := endpointtest.NewAuthority(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour))
	e := endpoint.Endpoint{
		Host: "tcp://" + endpointtest.TLS(t, pair, ca, endpointtest.Handler()),
		TLS:  &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: pair.Key},
	}
	f.wantOutcome(f.Create(t.Context(), rd, e, ""), state.ReasonCreated, true)
	f.wantProbe("rd", long, Healthy, probeHealthy)
	f.wantOutcome(f.Create(t.Context(), rd, e, ""), state.ReasonCreated, false)
	e.TLS = &endpoint.TLS{CA: ca.PEM}
	f.wantOutcome(f.Create(t.Context(), rd, e, ""), state.ReasonCreated, true)
	if got, err := f.Endpoint("rd"); err != nil || got.TLS.Key != nil || !bytes.Equal(got.TLS.CA, ca.PEM) {
		t.Errorf("the TLS material is %+v (%v)", got.TLS, err)
	}
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonRemoved, true)
	if _, err := os.Stat(f.store.GetStorageInfo("rd").TLSPath); !os.IsNotExist(err) {
		t.Errorf("keys are left: %v", err)
	}
}

// A context of our name that is not ours is not touched, whoever's it is.
func TestForeign(t *testing.T) {
	for name, prepare := range map[string]func(f *fixture){
		"no mark":          func(f *fixture) { f.healthyContext("rd") },
		"another instance": func(f *fixture) { f.own(Owner{UID: "other", Context: "rd"}) },
		"a copy": func(f *fixture) {
			f.own(rdB)
			m, err := f.store.GetMetadata("rd-b")
			if err != nil {
				f.t.Fatal(err)
			}
			m.Name = "rd"
			if err := f.store.CreateOrUpdate(m); err != nil {
				f.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			prepare(f)
			f.use("gone")
			before := f.tree()
			f.wantOutcome(f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix:///x"}, ""), state.ReasonForeign, false)
			f.wantOutcome(f.Ready(rd, endpoint.Endpoint{}), state.ReasonForeign, false)
			if ok, err := f.Exists(rd); ok || err != nil {
				t.Errorf("Exists = %v, %v", ok, err)
			}
			if after := f.tree(); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
			f.wantOutcome(f.promote(rd, PromoteOptions{Policy: PromoteAlways}), state.ReasonNotApplicable, false)
			f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonForeign, false)
			f.wantCurrent("gone")
			if _, err := f.store.GetMetadata("rd"); err != nil {
				t.Errorf("the context is gone: %v", err)
			}
		})
	}
	// One that can't be read may be anybody's.
	f := setup(t)
	f.putRaw("rd", "{")
	f.wantOutcome(f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix:///x"}, ""), state.ReasonFailed, false)
	f.wantOutcome(f.Ready(rd, endpoint.Endpoint{}), state.ReasonFailed, false)
	f.wantOutcome(f.Remove(t.Context(), rd), state.ReasonFailed, false)
}

func TestReadOnlyConfiguration(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.use("gone")
	dir := filepath.Dir(f.o.LockFile)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.mode(dir, 0o777)
	f.mode(filepath.Dir(f.o.Dir), 0o755)
	err := filepath.WalkDir(f.o.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			f.mode(path, 0o555)
		} else if err == nil {
			f.mode(path, 0o444)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		do     string
		owner  Owner
		reason state.Reason
	}{
		{"create", rdB, state.ReasonConfigReadOnly},
		{"create", rd, state.ReasonConfigReadOnly}, // at another host
		{"promote", rd, state.ReasonFailed},
		{"remove", rd, state.ReasonConfigReadOnly},
	} {
		var out Outcome
		f.runOrdinary(&out, job{Do: tc.do, Owner: tc.owner})
		if out.Reason != tc.reason || out.Changed {
			t.Errorf("%s %s: %+v, want %s", tc.do, tc.owner.Context, out, tc.reason)
		}
	}
	f.wantCurrent("gone")
	f.wantProbe("rd", long, Healthy, probeHealthy)
}

// Others make and remove contexts beside us, one of them under the same name.
func TestCreateBesideOthers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, name := range []string{"x", "y", "rd"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if name == "rd" {
					time.Sleep(50 * time.Millisecond) // making one takes some, with its fsync
				} else {
					f.healthyMetadata(name)
				}
				_ = f.store.Remove(name)
			}
		})
	}
	for range 200 {
		if out := f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix:///x"}, ""); out.Reason != state.ReasonCreated {
			t.Errorf("Create: %+v (%v)", out, out.Err)
		}
		if out := f.Remove(t.Context(), rd); out.Reason != state.ReasonRemoved {
			t.Errorf("Remove: %+v (%v)", out, out.Err)
		}
	}
	close(stop)
	wg.Wait()
	f.wantOutcome(f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix:///x"}, ""), state.ReasonCreated, true)
}

// healthyMetadata stores a context and does not care whether that works.
func (f *fixture) healthyMetadata(name string) {
	data, err := json.Marshal(map[string]any{"Name": name, "Endpoints": map[string]any{"docker": map[string]any{"Host": "unix:///x"}}})
	if err != nil {
		return
	}
	dir := f.store.GetStorageInfo(name).MetadataPath
	_ = os.MkdirAll(dir, 0o755)
	_ = os.WriteFile(filepath.Join(dir, "meta.json"), data, 0o644)
}

// Contexts that stay are listed while others come and go: the store's own list is
// empty now and then.
func TestListBesideOthers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.brokenContext("stays")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, name := range []string{"x", "y"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				f.healthyMetadata(name)
				_ = f.store.Remove(name)
			}
		})
	}
	for range 2000 {
		entries, err := f.list()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, e := range entries {
			found = found || e.Name == "stays" && e.Err == nil
		}
		if !found {
			t.Fatalf("List = %+v", entries)
		}
	}
	close(stop)
	wg.Wait()
}

// docker itself gets along with what we store.
func TestDockerReadsOurContext(t *testing.T) {
	f := setup(t)
	f.own(rd)
	f.docker("context", "use", "rd")
	out, err := exec.Command("docker", "--config", f.o.Dir, "context", "inspect", "rd", "--format", "{{json .Metadata}}").Output()
	if err != nil || !bytes.Contains(out, []byte(`"Description":"test"`)) {
		t.Errorf("docker context inspect: %q, %v", out, err)
	}
	f.docker("context", "create", "copy", "--from", "rd")
	if _, ok := f.OwnerOf("copy"); ok {
		t.Error("a copy that docker made is ours")
	}
}
