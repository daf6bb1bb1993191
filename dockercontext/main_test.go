//go:build !windows

package dockercontext

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestMain(m *testing.M) {
	endpointtest.Main()
	if os.Getenv(childVar) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// A fixture is a Docker configuration of its own.
type fixture struct {
	*Config
	t *testing.T
	o Options
	*instances
}

// instances are those that a test says there are. The owners of the tests are Up where
// nothing else is said.
type instances struct {
	state  func(Owner) EngineState // nil: up
	others []Owner                 // that run and can follow
	all    []OwnerInfo             // if not nil, in place of the others
}

// State implements [Owners].
func (is *instances) State(o Owner) EngineState {
	switch {
	case is.state != nil:
		return is.state(o)
	case is.all != nil:
		for _, i := range is.all {
			if i.owns(o) {
				return i.State
			}
		}
	case o == rd || o == rdB:
		return Up
	}
	return NoInstance
}

// All implements [Owners].
func (is *instances) All() ([]OwnerInfo, error) {
	if is.all != nil {
		return is.all, nil
	}
	var all []OwnerInfo
	for _, o := range is.others {
		all = append(all, OwnerInfo{Owner: o, State: Up, Successor: true})
	}
	return all, nil
}

// goes makes every engine be as s says.
func (is *instances) goes(s EngineState) { is.state = func(Owner) EngineState { return s } }

// runs is the contrary of goes.
func (is *instances) runs() { is.state = nil }

// repair is Repair while every engine is as s says.
func (f *fixture) repairWhile(s EngineState) Outcome {
	f.goes(s)
	defer f.runs()
	return f.Repair(f.t.Context())
}

// demoteTo is Demote with candidates.
func (f *fixture) demoteTo(owner Owner, candidates ...Owner) Outcome {
	f.others = candidates
	defer func() { f.others = nil }()
	return f.Demote(f.t.Context(), owner)
}

func setup(t *testing.T) *fixture {
	t.Helper()
	dir := endpointtest.Dir(t)
	return setupAt(t, dir, nil)
}

// setupAt opens the configuration in dir with an environment.
func setupAt(t *testing.T, dir string, env map[string]string) *fixture {
	t.Helper()
	o := Options{
		Dir: filepath.Join(dir, "docker"), LockFile: filepath.Join(dir, "state", "lock"), RecordFile: filepath.Join(dir, "state", "record.json"),
		Sockets: []string{filepath.Join(dir, "default.sock")},
		Claims:  claim.Book{File: filepath.Join(dir, "state", "sockets.json"), Lock: filepath.Join(dir, "state", "sockets.lock")},
		Getenv:  func(k string) string { return env[k] },
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	is := &instances{}
	o.Owners = is
	return &fixture{Open(o), t, o, is}
}

// with returns the same configuration seen through an environment.
func (f *fixture) with(env map[string]string) *fixture {
	o := f.o
	o.Getenv = func(k string) string { return env[k] }
	return &fixture{Open(o), f.t, o, f.instances}
}

// put stores a context that is not ours.
func (f *fixture) put(name string, e endpoint.Endpoint) {
	f.t.Helper()
	if err := f.store.ResetEndpointTLSMaterial(name, docker.DockerEndpoint, tlsData(e.TLS)); err != nil {
		f.t.Fatal(err)
	}
	err := f.store.CreateOrUpdate(store.Metadata{
		Name:      name,
		Endpoints: map[string]any{docker.DockerEndpoint: docker.EndpointMeta{Host: e.Host, SkipTLSVerify: e.SkipTLSVerify}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// putRaw stores metadata as it is.
func (f *fixture) putRaw(name, json string) string {
	f.t.Helper()
	path := filepath.Join(f.store.GetStorageInfo(name).MetadataPath, "meta.json")
	f.write(path, json)
	return path
}

func (f *fixture) write(path, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// use makes a context current as a user does, by writing the file anew.
func (f *fixture) use(name string) {
	f.t.Helper()
	data, err := json.Marshal(map[string]string{"currentContext": name, "detachKeys": "ctrl-x"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(f.file()+".user", string(data))
	if err := os.Rename(f.file()+".user", f.file()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wantCurrent(want string) {
	f.t.Helper()
	if got, err := f.Current(); err != nil || got != want {
		f.t.Errorf("the current context is %q (%v), want %q", got, err, want)
	}
}

// wantRecord compares the record without its version.
func (f *fixture) wantPromoted(want ...Owner) {
	f.t.Helper()
	r, err := f.readRecord()
	if err != nil {
		f.t.Fatal(err)
	}
	got, _ := json.Marshal(r.Promoted)
	exp, _ := json.Marshal(want)
	if string(got) != string(exp) && len(r.Promoted)+len(want) > 0 {
		f.t.Errorf("promoted by the record: %s, want %s", got, exp)
	}
}

// Names of the two instances of the tests.
var (
	rd  = Owner{UID: "uid-1", Context: "rd"}
	rdB = Owner{UID: "uid-2", Context: "rd-b"}
)

// own makes an owner's context, with a healthy engine behind it.
func (f *fixture) own(o Owner) {
	f.t.Helper()
	e := endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(f.t, endpointtest.Handler())}
	if out := f.Create(f.t.Context(), o, e, "test"); out.Reason != state.ReasonCreated {
		f.t.Fatalf("Create(%v): %+v", o, out)
	}
}

// healthyContext stores a context of somebody else that works.
func (f *fixture) healthyContext(name string) {
	f.t.Helper()
	f.put(name, endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(f.t, endpointtest.Handler())})
}

// brokenContext stores a context of somebody else that is provably broken.
func (f *fixture) brokenContext(name string) {
	f.t.Helper()
	f.put(name, endpoint.Endpoint{Host: "unix://" + filepath.Join(f.o.Dir, "gone.sock")})
}

// unknownContext stores a context of somebody else of which nothing can be proven.
func (f *fixture) unknownContext(name string) {
	f.t.Helper()
	f.put(name, endpoint.Endpoint{Host: "tcp://host..invalid:2375"})
}

// childVar makes this test binary do what it says and die at a fault point.
const childVar = "DOCKERCONTEXT_CHILD"

type job struct {
	Options    struct{ Dir, LockFile, RecordFile string }
	Do         string // promote, demote, remove
	Fault      string // where to die
	Owner      Owner
	Candidates []Owner
}

// child is the main function of a process that is killed.
func child() int {
	var j job
	if json.Unmarshal([]byte(os.Getenv(childVar)), &j) != nil {
		return 3
	}
	fault = func(point string) {
		if point == j.Fault {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	c := Open(Options{
		Dir: j.Options.Dir, LockFile: j.Options.LockFile, RecordFile: j.Options.RecordFile,
		Owners: &instances{others: j.Candidates},
	})
	ctx := context.Background()
	var result any
	switch j.Do {
	case "probe":
		result = c.Probe(ctx, j.Owner.Context)[0]
	case "doctor":
		result, _ = c.Doctor(ctx)
	case "create":
		result = c.Create(ctx, j.Owner, endpoint.Endpoint{Host: "unix:///s"}, "")
	case "promote":
		result = c.Promote(ctx, c.Judge(ctx, j.Owner, PromoteAlways), j.Owner, PromoteOptions{Policy: PromoteAlways})
	case "demote":
		result = c.Demote(ctx, j.Owner)
	case "remove":
		result = c.Remove(ctx, j.Owner)
	}
	if json.NewEncoder(os.Stdout).Encode(result) != nil {
		return 3
	}
	return 0
}

// command returns the command that does a job in a process of its own.
func (f *fixture) command(j job, env ...string) *exec.Cmd {
	f.t.Helper()
	j.Options.Dir, j.Options.LockFile, j.Options.RecordFile = f.o.Dir, f.o.LockFile, f.o.RecordFile
	data, err := json.Marshal(j)
	if err != nil {
		f.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVar+"="+string(data))
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// run does a job in a process of its own, decoding its result.
func (f *fixture) run(result any, j job, env ...string) {
	f.t.Helper()
	out, err := f.command(j, env...).Output()
	if err == nil {
		err = json.Unmarshal(out, result)
	}
	if err != nil {
		f.t.Fatalf("%s: %v: %s", j.Do, err, out)
	}
}

// runOrdinary is run as a user whom file modes concern.
func (f *fixture) runOrdinary(result any, j job) {
	f.t.Helper()
	cmd := f.command(j)
	if os.Getuid() == 0 {
		id := uint32(ordinary())
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
		cmd.Path = "/proc/self/exe" // the binary's directory is root's
	}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, result)
	}
	if err != nil {
		f.t.Fatalf("%s: %v: %s", j.Do, err, out)
	}
}

// ordinary is the user as whom runOrdinary runs.
func ordinary() int {
	if uid := os.Getuid(); uid != 0 {
		return uid
	}
	return 65534 // nobody
}

// mode changes a file's mode until the test ends.
func (f *fixture) mode(path string, mode os.FileMode) {
	f.t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = os.Chmod(path, info.Mode().Perm()) })
}

// killAt runs a job in a process that dies at the fault point.
func (f *fixture) killAt(point, do string, owner Owner, candidates ...Owner) {
	f.t.Helper()
	cmd := f.command(job{Do: do, Fault: point, Owner: owner, Candidates: candidates})
	err := cmd.Run()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		f.t.Fatalf("%s did not die at %q: %v", do, point, err)
	}
}
