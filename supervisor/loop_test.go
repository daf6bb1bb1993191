//go:build !windows

package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// fakeDriver runs engines that are fake servers in this process.
type fakeDriver struct {
	socket string
	// launch is what Start does before it has an engine; nil: nothing.
	launch func(ctx context.Context) error
	// run reports whether the nth engine answers; one that does not ends at once.
	run func(n int) bool
	// adopting is called when one is looked for to adopt; nil: nothing.
	adopting func()
	// stopping is called when an engine is told to stop; nil: nothing.
	stopping func(graceful context.Context)

	// killed are the containers that an engine kills when it is stopped.
	killed []string
	// troubles are what does not work of the engine.
	troubles atomic.Pointer[troubles]
	// slow is how long the engines take to answer a ping.
	slow time.Duration
	// foreign makes the engines somebody else's.
	foreign bool

	started chan struct{} // gets one for each engine

	mu       sync.Mutex
	starts   int
	cleanups int
	adopt    *fakeRunning // by Adopt, once
	running  *fakeRunning
}

func (d *fakeDriver) Check() []error { return nil }

func (d *fakeDriver) Adopt(context.Context) (engine.Running, error) {
	if d.adopting != nil {
		d.adopting()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.adopt == nil {
		return nil, nil
	}
	r := d.adopt
	d.adopt, d.running = nil, r
	return r, nil
}

func (d *fakeDriver) Start(ctx context.Context) (engine.Running, error) {
	if d.launch != nil {
		if err := d.launch(ctx); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.starts++
	r, err := d.serve()
	if err != nil {
		return nil, err
	}
	d.running = r
	d.started <- struct{}{}
	if d.run != nil && !d.run(d.starts) {
		r.die()
	}
	if d.foreign {
		return struct{ engine.Running }{r}, nil
	}
	return r, nil
}

// serve returns an engine that answers.
func (d *fakeDriver) serve() (*fakeRunning, error) {
	e, err := fakeengine.Start(d.socket)
	if err != nil {
		return nil, err
	}
	if d.slow > 0 {
		e.SetFaults(func(f *fakeengine.Faults) {
			f.Answer = func(_ http.ResponseWriter, _ *http.Request, path string) bool {
				if path == "/_ping" {
					time.Sleep(d.slow)
				}
				return false
			}
		})
	}
	return &fakeRunning{driver: d, engine: e, exited: make(chan struct{})}, nil
}

func (d *fakeDriver) Life() engine.Life { return engine.Gone }

func (d *fakeDriver) LocalHost() (string, error) { return "unix://" + d.socket, nil }

func (d *fakeDriver) Endpoint() (endpoint.Endpoint, error) {
	return endpoint.Endpoint{Host: "unix://" + d.socket}, nil
}

func (d *fakeDriver) Cleanup(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cleanups++
	if d.running != nil {
		d.running.die()
	}
	return nil, nil
}

// kill ends the engine that runs, as a crash does.
func (d *fakeDriver) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running.die()
}

func (d *fakeDriver) counts() (starts, cleanups int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.starts, d.cleanups
}

type troubles struct {
	list    []engine.Problem
	changed chan struct{}
}

type fakeRunning struct {
	driver *fakeDriver
	engine *fakeengine.Engine
	exited chan struct{}
	once   sync.Once
}

func (r *fakeRunning) die() {
	r.once.Do(func() {
		_ = r.engine.Close()
		close(r.exited)
	})
}

func (r *fakeRunning) ID() process.ID          { return process.ID{PID: os.Getpid()} }
func (r *fakeRunning) Exited() <-chan struct{} { return r.exited }
func (r *fakeRunning) LastError() string       { return "the engine's own words" }
func (r *fakeRunning) Release()                {}
func (r *fakeRunning) Problems() ([]engine.Problem, <-chan struct{}) {
	if t := r.driver.troubles.Load(); t != nil {
		return t.list, t.changed
	}
	return nil, nil
}
func (r *fakeRunning) Stop(ctx context.Context) ([]string, error) {
	if r.driver.stopping != nil {
		r.driver.stopping(ctx)
	}
	r.die()
	return r.driver.killed, nil
}

// fixture is an instance whose supervisor is a loop in this process.
type fixture struct {
	t      *testing.T
	inst   *instance.Instance
	driver *fakeDriver
	docker *dockercontext.Config
	loop   *loop
	// pingTimeout is the loop's first one; 0 for the usual.
	pingTimeout time.Duration
	notify      notifier
	signals     chan os.Signal
	done        chan error
}

// setup makes an instance beside a current context that does not exist.
func setup(t *testing.T) *fixture {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rd") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	t.Setenv(instance.HomeEnv, home)
	t.Setenv(contexts.SocketsEnv, filepath.Join(home, "default.sock"))
	config := filepath.Join(home, "docker")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(`{"currentContext":"gone"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return add(t, "default", config)
}

// add makes an instance under a Docker configuration.
func add(t *testing.T, name, config string) *fixture {
	t.Helper()
	roots, err := instance.DefaultRoots()
	if err != nil {
		t.Fatal(err)
	}
	s := instance.DefaultSettings()
	s.Driver = instance.DriverDockerd
	inst, _, err := instance.Create(t.Context(), instance.New(roots, name, config, s))
	if err != nil {
		t.Fatal(err)
	}
	docker, err := contexts.Config(inst)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(inst.Paths.Runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	return &fixture{t: t, inst: inst, driver: &fakeDriver{socket: inst.Paths.Socket(), started: make(chan struct{}, 100)}, docker: docker}
}

// start runs the loop until the test ends.
func (f *fixture) start() {
	f.t.Helper()
	release, err := lock.TryAcquire(f.inst.Paths.SupervisorLock())
	if err != nil {
		f.t.Fatal(err)
	}
	f.loop, err = newLoop(f.inst, f.driver, slog.New(slog.NewTextHandler(f.t.Output(), nil)))
	if err != nil {
		f.t.Fatal(err)
	}
	f.loop.notify = f.notify
	f.loop.engine.firstDelay, f.loop.engine.lostAfter = time.Millisecond, time.Millisecond
	if f.pingTimeout > 0 {
		f.loop.engine.pingTimeout = f.pingTimeout
	}
	f.signals, f.done = make(chan os.Signal, 1), make(chan error, 1)
	go func() {
		err := f.loop.run(f.signals, nil)
		release()
		f.done <- err
	}()
	f.t.Cleanup(func() { f.stop(); <-f.loop.ctx.Done(); f.loop.workers.Wait() })
}

// stop tells the loop to stop.
func (f *fixture) stop() {
	select {
	case f.signals <- syscall.SIGTERM:
	case <-f.loop.ctx.Done():
	}
}

// ask asks the loop to stop, and returns the request.
func (f *fixture) ask(o requests.StopOptions) (request string) {
	f.t.Helper()
	id, err := requests.Submit(f.inst.Paths.RequestsDir(), requests.Request{
		Type: requests.RequestStop, Reply: true, Stop: &requests.Stop{Supervisor: f.loop.self, StopOptions: o},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// wait returns when a condition is as wanted.
func (f *fixture) wait(typ string, status state.Status, reason state.Reason) state.Condition {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	var c state.Condition
	err := client.Follow(ctx, f.inst, func(o instance.Observation) (bool, error) {
		c = o.Condition(typ)
		return c.Status != status || reason != "" && c.Reason != reason, nil
	})
	if err != nil {
		f.t.Fatalf("%s is not %s %s, but %+v: %v", typ, status, reason, c, err)
	}
	return c
}

// stopped tells the loop to stop, unless it ends by itself, and returns the last state and
// its error.
func (f *fixture) stopped(tell bool) (*state.State, error) {
	f.t.Helper()
	if tell {
		f.stop()
	}
	err := <-f.done
	s, readErr := state.Read(f.inst.Paths.StateFile())
	if readErr != nil {
		f.t.Fatal(readErr)
	}
	return s, err
}

// current checks the current context, and whether the instance's exists.
func (f *fixture) current(want string, exists bool) {
	f.t.Helper()
	if got, err := f.docker.Current(); err != nil || got != want {
		f.t.Errorf("the current context is %q, %v, want %q", got, err, want)
	}
	if got, err := f.docker.Exists(contexts.Owner(f.inst)); err != nil || got != exists {
		f.t.Errorf("context %q exists: %v, %v, want %v", f.inst.Context(), got, err, exists)
	}
}

func condition(t *testing.T, s *state.State, typ string) state.Condition {
	t.Helper()
	c, ok := s.Condition(typ)
	if !ok {
		t.Fatalf("there is no condition %s", typ)
	}
	return c
}

func TestStartAndStop(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	f.wait(state.ContextPromoted, state.True, state.ReasonPromoted)
	f.current("rd", true)
	f.wait(state.SocketClaimed, state.True, state.ReasonClaimed)
	if target, err := os.Readlink(os.Getenv(contexts.SocketsEnv)); err != nil || target != f.driver.socket {
		t.Errorf("the default socket leads to %q, %v", target, err)
	}
	s, err := f.stopped(true)
	if err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(os.Getenv(contexts.SocketsEnv)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the default socket: %v, want it given back", err)
	}
	f.current("", false) // the one before does not exist
	if s.Supervisor != nil || s.Engine.PID != 0 || len(s.Networks) > 0 || len(s.Namespaces) > 0 {
		t.Errorf("the last state is %+v", s)
	}
	for typ, reason := range map[string]state.Reason{
		state.EngineReady: state.ReasonStopped, state.Ready: state.ReasonStopped, state.ContextReady: state.ReasonRemoved,
		state.ContextPromoted: state.ReasonDemoted, state.SocketClaimed: state.ReasonReleased, state.MirrorSynced: state.ReasonDisconnected,
	} {
		if c := condition(t, s, typ); c.Status != state.False || c.Reason != reason {
			t.Errorf("%s is %s %s, want False %s", typ, c.Status, c.Reason, reason)
		}
	}
	if starts, cleanups := f.driver.counts(); starts != 1 || cleanups != 1 {
		t.Errorf("%d starts and %d cleanups, want one each", starts, cleanups)
	}
}

// An instance whose files somebody removes can't be reached any more: its engine ends, and
// with nothing left of its data at once. The directory is not made again for a last state.
func TestFilesAreRemoved(t *testing.T) {
	for name, tc := range map[string]struct {
		remove func(i *instance.Instance) string
		force  bool
	}{
		"state":      {func(i *instance.Instance) string { return i.Paths.State }, false},
		"everything": {func(i *instance.Instance) string { return os.Getenv(instance.HomeEnv) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			forced := make(chan bool, 1)
			f.driver.stopping = func(graceful context.Context) {
				forced <- graceful.Err() != nil
			}
			f.start()
			f.wait(state.Ready, state.True, "")
			for os.RemoveAll(tc.remove(f.inst)) != nil {
				// The state file was removed first and then rewritten.
			}
			if err := <-f.done; err != nil {
				t.Error(err)
			}
			if got := <-forced; got != tc.force {
				t.Errorf("by force: %v, want %v", got, tc.force)
			}
			if _, err := os.Stat(f.inst.Paths.State); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the state directory: %v, want it gone", err)
			}
		})
	}
}

// What is kept for a restart is neither handed back nor removed.
func TestStopKeeps(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	f.ask(client.ToRestart())
	if _, err := f.stopped(false); err != nil {
		t.Error(err)
	}
	f.current("rd", true)
}

// It does not if the restart was killed meanwhile, or interrupted: nobody would start the instance
// again.
func TestStopForRestartThatHasEnded(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	o := client.ToRestart()
	o.KeepFor.StartTime-- // such a process has ended
	f.ask(o)
	if _, err := f.stopped(false); err != nil {
		t.Error(err)
	}
	f.current("", false)
}

// A start that cannot work leaves no context and no promotion, and says why.
func TestLaunchFails(t *testing.T) {
	f := setup(t)
	f.driver.launch = func(context.Context) error { return errors.New("no such thing") }
	f.start()
	s, err := f.stopped(false)
	if err == nil || err.Error() != "no such thing" {
		t.Errorf("the loop ends with %v", err)
	}
	if c := condition(t, s, state.EngineReady); c.Reason != state.ReasonExited || c.Message != "no such thing" {
		t.Errorf("EngineReady is %+v", c)
	}
	if s.Supervisor == nil {
		t.Error("nobody can tell whose failure it was")
	}
	f.current("gone", false)
}

// So does one whose engine ends before it ever answered.
func TestEngineEndsAtOnce(t *testing.T) {
	f := setup(t)
	f.driver.run = func(int) bool { return false }
	f.start()
	s, err := f.stopped(false)
	if err == nil || condition(t, s, state.EngineReady).Message != "the engine's own words" {
		t.Errorf("the loop ends with %v and %+v", err, condition(t, s, state.EngineReady))
	}
	if starts, _ := f.driver.counts(); starts != 1 {
		t.Errorf("%d starts, want one: nobody waits for a second", starts)
	}
	f.current("gone", false)
}

// An engine that crashes is back soon; context and promotion stay as they are.
func TestEngineCrashes(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	for range 3 {
		<-f.driver.started
		f.driver.kill()
	}
	<-f.driver.started
	f.wait(state.Ready, state.True, "")
	f.current("rd", true)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// Problems of an engine that answers can be read while they last.
func TestProblems(t *testing.T) {
	f := setup(t)
	first := &troubles{[]engine.Problem{{Words: "no network"}, {Words: "no names"}}, make(chan struct{})}
	f.driver.troubles.Store(first)
	f.start()
	c := f.wait(state.EngineReady, state.True, state.ReasonConnected)
	if want := "no network; no names"; c.Message != want {
		t.Errorf("the message is %q, want %q", c.Message, want)
	}
	f.driver.troubles.Store(nil)
	close(first.changed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := client.Follow(ctx, f.inst, func(o instance.Observation) (bool, error) {
		c = o.Condition(state.EngineReady)
		return c.Message != "", nil
	})
	if err != nil || c.Status != state.True {
		t.Errorf("afterwards: %+v, %v", c, err)
	}
	f.stopped(true)
}

// A port that does not answer is a problem until the container that had it is started anew.
func TestProblemOfPort(t *testing.T) {
	f := setup(t)
	first := &troubles{nil, make(chan struct{})}
	f.driver.troubles.Store(first)
	f.start()
	f.wait(state.Ready, state.True, "")
	e := f.driver.running.engine
	e.Add(fakeengine.Objects{Containers: []fakeengine.ContainerSpec{{Name: "web", State: "running", Ports: []string{"0.0.0.0:8080:80/tcp"}}}})
	id := e.IDs("containers")[0]
	f.awaitContainer("web")
	killed := time.Now()
	f.driver.troubles.Store(&troubles{[]engine.Problem{
		{Words: "it does not answer", Port: "0.0.0.0:8080/tcp", Since: killed},
		{Words: "nobody has that", Port: "0.0.0.0:8081/tcp", Since: killed},
	}, nil})
	close(first.changed)
	f.waitMessage(state.EngineReady, "it does not answer")
	e.ChangeContainer(id, func(c *container.InspectResponse) {
		c.State.StartedAt = killed.Add(time.Millisecond).UTC().Format(time.RFC3339Nano)
	}, events.ActionRestart)
	f.waitMessage(state.EngineReady, "")
	f.stopped(true)
}

// An engine that is slow, as in a machine that is emulated, becomes ready at last: it is asked more
// and more patiently.
func TestSlowEngine(t *testing.T) {
	f := setup(t)
	f.driver.slow = 100 * time.Millisecond
	f.pingTimeout = time.Millisecond
	f.start()
	f.wait(state.Ready, state.True, "")
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// One that crashes again and again stays down, and the current context is handed back.
func TestCrashLoop(t *testing.T) {
	f := setup(t)
	f.driver.run = func(n int) bool { return n == 1 }
	f.start()
	f.wait(state.Ready, state.True, "")
	f.current("rd", true)
	f.driver.kill()
	c := f.wait(state.EngineReady, state.False, state.ReasonCrashLoop)
	if want := "it ended 6 times in a row and stays down: the engine's own words"; c.Message != want {
		t.Errorf("EngineReady: %q, want %q", c.Message, want)
	}
	f.wait(state.ContextPromoted, state.False, state.ReasonDemoted)
	f.current("", true)
	if starts, _ := f.driver.counts(); starts != maxFailures+1 {
		t.Errorf("%d starts, want %d", starts, maxFailures+1)
	}
	if s, err := f.stopped(true); err != nil || s.Supervisor != nil {
		t.Errorf("stopped: %v, %+v", err, s.Supervisor)
	}
	f.current("", false)
}

// An engine that is somebody else's may be away for long: the current context is handed
// back then. When it is there again, so is all that a start waits for.
func TestForeignEngineIsAway(t *testing.T) {
	f := setup(t)
	setPolicy(t, f, dockercontext.PromoteAlways)
	f.driver.foreign = true
	f.start()
	f.wait(state.Ready, state.True, "")
	f.wait(state.ContextPromoted, state.True, state.ReasonPromoted)
	f.wait(state.SocketClaimed, state.True, state.ReasonClaimed)
	f.driver.kill()
	f.wait(state.ContextPromoted, state.False, state.ReasonDemoted)
	f.wait(state.SocketClaimed, state.False, state.ReasonReleased)
	back, err := fakeengine.Start(f.driver.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	f.wait(state.EngineReady, state.True, "")
	f.wait(state.ContextReady, state.True, state.ReasonCreated)
	f.wait(state.ContextPromoted, state.True, state.ReasonPromoted)
	f.wait(state.SocketClaimed, state.True, state.ReasonClaimed)
	f.wait(state.Ready, state.True, "")
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// An engine that was there before is adopted, and started again when it ends, however
// soon that is.
func TestAdoption(t *testing.T) {
	f := setup(t)
	var err error
	if f.driver.adopt, err = f.driver.serve(); err != nil {
		t.Fatal(err)
	}
	f.driver.adopt.die()
	f.driver.launch = func(context.Context) error {
		if f.driver.adopt != nil {
			return engine.ErrRunning
		}
		return nil
	}
	f.start()
	f.wait(state.Ready, state.True, "")
	if starts, _ := f.driver.counts(); starts != 1 {
		t.Errorf("%d starts, want one", starts)
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// A start that is taken back takes back what it has launched, and lets an engine go on that
// was there before: with its context and its promotion.
func TestUndo(t *testing.T) {
	undo := func(f *fixture) { f.ask(requests.StopOptions{Undo: true}) }
	t.Run("launched", func(t *testing.T) {
		f := setup(t)
		f.start()
		f.wait(state.Ready, state.True, "")
		undo(f)
		if s, err := f.stopped(false); err != nil || s.Supervisor != nil {
			t.Errorf("stopped: %v, %+v", err, s.Supervisor)
		}
		if _, cleanups := f.driver.counts(); cleanups == 0 {
			t.Error("the engine goes on")
		}
		f.current("", false)
	})
	t.Run("adopted", func(t *testing.T) {
		f := setup(t)
		running, err := f.driver.serve()
		if err != nil {
			t.Fatal(err)
		}
		f.driver.adopt = running
		f.driver.launch = func(context.Context) error { return engine.ErrRunning }
		f.start()
		f.wait(state.Ready, state.True, "")
		undo(f)
		if s, err := f.stopped(false); err != nil || s.Supervisor == nil {
			t.Errorf("the supervisor ended with %v, and the state says that nothing is left to stop", err)
		}
		select {
		case <-running.exited:
			t.Error("the engine was stopped")
		default:
			running.die()
		}
		f.current("rd", true)
	})
	t.Run("while it is launched", func(t *testing.T) {
		f := setup(t)
		launching := make(chan struct{})
		f.driver.launch = func(ctx context.Context) error {
			close(launching)
			<-ctx.Done()
			return engine.ErrRunning // to be adopted
		}
		running, err := f.driver.serve()
		if err != nil {
			t.Fatal(err)
		}
		f.driver.adopt = running
		f.start()
		<-launching
		undo(f)
		if _, err := f.stopped(false); err != nil {
			t.Error(err)
		}
		select {
		case <-running.exited:
			t.Error("the engine was stopped")
		default:
			running.die()
		}
		f.current("gone", false)
	})
}

// A supervisor that only stops what another has left says so from the beginning: no state of
// it has a condition without a reason.
func TestStopOfLeftovers(t *testing.T) {
	f := setup(t)
	release, err := lock.TryAcquire(f.inst.Paths.SupervisorLock())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	l, err := newLoop(f.inst, f.driver, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	// What was asked of the engine is dropped, as by any stop: the next start must not do it.
	deletion := requests.Request{Type: requests.RequestDelete, Kind: state.Volumes, Key: "data", Reply: true}
	before, err := requests.Submit(f.inst.Paths.RequestsDir(), deletion)
	if err != nil {
		t.Fatal(err)
	}
	look := make(chan struct{})
	f.driver.adopting = func() { <-look }
	done := make(chan error, 1)
	go func() { done <- l.run(nil, &requests.StopOptions{}) }()
	f.wait(state.EngineReady, state.False, state.ReasonStopped)
	f.wait(state.Ready, state.False, state.ReasonStopped)
	meanwhile, err := requests.Submit(f.inst.Paths.RequestsDir(), deletion)
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{before, meanwhile} {
		if o, err := f.outcome(request); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the outcome of a deletion is %+v, %v", o, err)
		}
	}
	close(look)
	if err := <-done; err != nil || f.driver.cleanups != 1 {
		t.Errorf("run = %v after %d cleanups", err, f.driver.cleanups)
	}
}

// What a supervisor that was killed has left in the state is not believed.
func TestFormerStateIsNotBelieved(t *testing.T) {
	f := setup(t)
	former, err := openStore(f.inst, f.driver, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{state.Ready, state.EngineReady, state.ContextReady, state.ContextPromoted, state.MirrorSynced} {
		former.SetCondition(typ, state.True, "", "")
	}
	if err := former.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	launch := make(chan struct{})
	f.driver.launch = func(context.Context) error { <-launch; return nil }
	f.start()
	f.wait(state.EngineReady, state.False, state.ReasonStarting)
	o := instance.Observe(f.inst)
	for typ, want := range map[string]state.Status{
		state.Ready: state.False, state.ContextReady: state.Unknown, state.MirrorSynced: state.False,
		state.ContextPromoted: state.Unknown,
	} {
		if got := o.Condition(typ); got.Status != want {
			t.Errorf("%s is %s before there is an engine", typ, got.Status)
		}
	}
	close(launch)
	f.wait(state.Ready, state.True, "")
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// A launch that hangs is given up by a stop.
func TestLaunchIsGivenUp(t *testing.T) {
	f := setup(t)
	launching := make(chan struct{})
	f.driver.launch = func(ctx context.Context) error {
		close(launching)
		<-ctx.Done()
		return ctx.Err()
	}
	f.start()
	<-launching
	if s, err := f.stopped(true); err != nil || s.Supervisor != nil {
		t.Errorf("stopped: %v, %+v", err, s.Supervisor)
	}
	f.current("gone", false)
}

// A stop that comes while the engine is launched waits for it, and ends it.
func TestStopDuringLaunch(t *testing.T) {
	f := setup(t)
	launching, launch := make(chan struct{}), make(chan struct{})
	f.driver.launch = func(context.Context) error { close(launching); <-launch; return nil }
	var asked atomic.Bool
	f.driver.stopping = func(context.Context) { asked.Store(true) }
	f.start()
	<-launching
	f.stop()
	f.wait(state.EngineReady, state.False, state.ReasonStopped)
	close(launch)
	if s, err := f.stopped(false); err != nil || s.Supervisor != nil {
		t.Errorf("stopped: %v, %+v", err, s.Supervisor)
	}
	if !asked.Load() {
		t.Error("the engine was not stopped")
	}
	f.current("gone", false)
}

// A second stop, by force, takes the time from the first.
func TestStopByForceAfterAll(t *testing.T) {
	f := setup(t)
	stopping := make(chan struct{})
	f.driver.stopping = func(graceful context.Context) { close(stopping); <-graceful.Done() }
	f.start()
	f.wait(state.Ready, state.True, "")
	f.stop()
	<-stopping
	f.ask(requests.StopOptions{Force: true})
	if s, err := f.stopped(false); err != nil || s.Supervisor != nil {
		t.Errorf("stopped: %v, %+v", err, s.Supervisor)
	}
}

// A stop while the engine begins to answer: whatever comes late changes nothing.
func TestStopAtAnyMoment(t *testing.T) {
	for range 30 {
		f := setup(t)
		f.start()
		var o instance.Observation
		for o.State == nil || o.Condition(state.EngineReady).Status != state.True {
			o = instance.Observe(f.inst)
		}
		if s, err := f.stopped(true); err != nil || s.Supervisor != nil {
			t.Errorf("stopped: %v, %+v", err, s.Supervisor)
		}
		if got, err := f.docker.Current(); err != nil || got == "rd" {
			t.Fatalf("the current context is %q, %v", got, err)
		}
		if got, err := f.docker.Exists(contexts.Owner(f.inst)); err != nil || got {
			t.Fatalf("the context exists: %v, %v", got, err)
		}
	}
}

// What is done for a cause that has ended is dropped.
func TestLateResultIsDropped(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	cause, end := context.WithCancel(f.loop.ctx)
	release := make(chan struct{})
	f.loop.async(cause, func(context.Context) event {
		<-release
		return requested{requests.Request{Type: requests.RequestStop, Stop: &requests.Stop{Supervisor: f.loop.self, StopOptions: client.ToRestart()}}}
	})
	end()
	close(release)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	f.current("", false) // not kept
}

// runs is what is known of instances by who takes one of them for running.
type runs struct {
	dockercontext.Owners
	owner dockercontext.Owner
}

func (r runs) All() ([]dockercontext.OwnerInfo, error) {
	return []dockercontext.OwnerInfo{{Owner: r.owner, State: dockercontext.Up, Successor: true}}, nil
}

// Two instances stop at once: the one that takes over must not keep its context.
func TestHandedOverWhileStopping(t *testing.T) {
	first := setup(t)
	second := add(t, "second", first.inst.DockerConfig)
	first.start()
	first.wait(state.Ready, state.True, "")
	second.start()
	second.wait(state.Ready, state.True, "")
	first.current("rd", true)
	second.current("rd", true)
	second.driver.stopping = func(context.Context) {
		// The first one believes that the second runs: it has looked before this.
		o, err := contexts.Options(first.inst.DockerConfig)
		if err != nil {
			t.Error(err)
		}
		o.Owners = runs{o.Owners, contexts.Owner(second.inst)}
		dockercontext.Open(o).Demote(context.Background(), contexts.Owner(first.inst))
		second.current("rd-second", true)
	}
	if _, err := second.stopped(true); err != nil {
		t.Error(err)
	}
	if got, err := second.docker.Current(); err != nil || got == "rd-second" {
		t.Errorf("the current context is %q, %v", got, err)
	}
	if got, err := second.docker.Exists(contexts.Owner(second.inst)); err != nil || got {
		t.Errorf("the context exists: %v, %v", got, err)
	}
	if _, err := first.stopped(true); err != nil {
		t.Error(err)
	}
}

// An instance that is never to be current does not become so by a hand-over either.
func TestHandOver(t *testing.T) {
	for policy, want := range map[dockercontext.Policy]string{
		dockercontext.PromoteIfBroken: "rd-second", dockercontext.PromoteAlways: "rd-second", dockercontext.PromoteNever: "",
	} {
		first := setup(t)
		if policy == dockercontext.PromoteAlways {
			// The same Docker configuration, by another name.
			link := first.inst.DockerConfig + "-link"
			if err := os.Symlink(first.inst.DockerConfig, link); err != nil {
				t.Fatal(err)
			}
			first.inst.DockerConfig = link
		}
		first.start()
		first.wait(state.ContextPromoted, state.True, state.ReasonPromoted)
		second := add(t, "second", filepath.Join(filepath.Dir(first.inst.DockerConfig), "docker"))
		setPolicy(t, second, dockercontext.PromoteNever)
		second.start()
		second.wait(state.Ready, state.True, "")
		first.current("rd", true)
		// By another process.
		var err error
		second.inst, err = instance.LoadDir(second.inst.Paths.State)
		if err != nil {
			t.Fatal(err)
		}
		setPolicy(t, second, policy)
		if _, err := first.stopped(true); err != nil {
			t.Error(err)
		}
		second.current(want, true)
		if _, err := second.stopped(true); err != nil {
			t.Error(err)
		}
		second.current("", false)
	}
}

func setPolicy(t *testing.T, f *fixture, policy dockercontext.Policy) {
	t.Helper()
	err := f.inst.Update(t.Context(), func(s *instance.Settings) error { s.Promote = policy; return nil })
	if err != nil {
		t.Fatal(err)
	}
}

// A context that the user has chosen stays when its engine stops.
func TestUsersChoiceStays(t *testing.T) {
	f := setup(t)
	config := filepath.Join(f.inst.DockerConfig, "config.json")
	f.inst.Settings.Promote = dockercontext.PromoteNever
	f.start()
	f.wait(state.Ready, state.True, "")
	if err := os.WriteFile(config, []byte(`{"currentContext":"rd"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f.wait(state.ContextPromoted, state.True, state.ReasonAlreadyCurrent)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	f.current("rd", true)
}

// What the state says of the current context is true of the user's last choice.
func TestUserChoosesAgain(t *testing.T) {
	f := setup(t)
	config := filepath.Join(f.inst.DockerConfig, "config.json")
	f.start()
	f.wait(state.ContextPromoted, state.True, state.ReasonPromoted)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, choice := range []string{"first", "second"} {
		if err := os.WriteFile(config+".new", []byte(`{"currentContext":"`+choice+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(config+".new", config); err != nil { // as docker does it
			t.Fatal(err)
		}
		var c state.Condition
		err := client.Follow(ctx, f.inst, func(o instance.Observation) (bool, error) {
			c = o.Condition(state.ContextPromoted)
			return c.Reason != state.ReasonChangedByUser || !strings.Contains(c.Message, choice), nil
		})
		if err != nil {
			t.Fatalf("after the choice %q the condition is %+v: %v", choice, c, err)
		}
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	f.current("second", false)
}

// A state that can't be written is tried again; a start of which nobody can learn ends.
func TestStateCannotBeWritten(t *testing.T) {
	for _, passing := range []bool{true, false} {
		f := setup(t)
		inTheWay := filepath.Join(f.inst.Paths.State, ".state.json.tmp")
		if err := os.MkdirAll(filepath.Join(inTheWay, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if passing {
			// At once: what is being removed may already be the next try's.
			f.driver.launch = func(context.Context) error { return os.Rename(inTheWay, inTheWay+".away") }
			f.start()
			f.wait(state.Ready, state.True, "")
			if _, err := f.stopped(true); err != nil {
				t.Error(err)
			}
			continue
		}
		f.start()
		if err := <-f.done; err == nil {
			t.Error("the loop ends without an error")
		}
		f.current("", false)
	}
}

// An engine that starts later and takes the default socket keeps it.
func TestSocketIsTaken(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.SocketClaimed, state.True, state.ReasonClaimed)
	socket := os.Getenv(contexts.SocketsEnv)
	if err := os.Remove(socket); err != nil { // as dockerd does
		t.Fatal(err)
	}
	host, err := fakeengine.Start(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	f.wait(state.SocketClaimed, state.False, state.ReasonReleased)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(socket); err != nil || info.Mode()&os.ModeSocket == 0 {
		t.Errorf("the socket of the engine that came later: %v, %v", info, err)
	}
}

// A promotion by hand claims the default socket, too.
func TestSocketFollowsPromotion(t *testing.T) {
	f := setup(t)
	setPolicy(t, f, dockercontext.PromoteNever)
	f.start()
	f.wait(state.Ready, state.True, "")
	f.wait(state.SocketClaimed, state.False, state.ReasonNotRequested)
	docker, err := contexts.Config(f.inst)
	if err != nil {
		t.Fatal(err)
	}
	j := docker.Judge(t.Context(), contexts.Owner(f.inst), dockercontext.PromoteAlways)
	if out := docker.Promote(t.Context(), j, contexts.Owner(f.inst), dockercontext.PromoteOptions{Policy: dockercontext.PromoteAlways}); !out.Changed {
		t.Fatalf("not promoted: %+v", out)
	}
	f.wait(state.SocketClaimed, state.True, state.ReasonClaimed)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// If the user's context leads elsewhere, the driver starts again: it may have to relay now, or no
// longer.
func TestEndpointChanges(t *testing.T) {
	f := setup(t)
	f.driver.foreign = true
	f.start()
	f.wait(state.Ready, state.True, "")
	<-f.driver.started
	f.driver.kill() // its socket is the next one's
	f.loop.events <- message{f.loop.ctx, endpointNew{}}
	<-f.driver.started
	f.wait(state.Ready, state.True, "")
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// The engine that it led to before is not mirrored any longer, although the new one is away.
func TestEndpointLeadsNowhere(t *testing.T) {
	f := setup(t)
	f.driver.foreign = true
	f.start()
	f.wait(state.Ready, state.True, "")
	before := f.driver.running.engine
	if err := os.Rename(f.driver.socket, f.driver.socket+".away"); err != nil {
		t.Fatal(err)
	}
	f.driver.launch = func(context.Context) error { return errors.New("it is away") }
	f.loop.events <- message{f.loop.ctx, endpointNew{}}
	f.wait(state.EngineReady, state.False, state.ReasonExited)
	if !endpointtest.Eventually(func() bool { return before.Streams() == 0 }) {
		t.Error("the engine that the context led to is still mirrored")
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	_ = before.Close()
}

// An engine whose socket somebody removes is not taken for ready, and is again when it can be
// reached.
func TestSocketIsRemoved(t *testing.T) {
	f := setup(t)
	f.start()
	f.wait(state.Ready, state.True, "")
	if err := os.Rename(f.driver.socket, f.driver.socket+".away"); err != nil {
		t.Fatal(err)
	}
	f.follow(func(o instance.Observation) bool {
		missed := o.Condition(state.EngineReady).Reason == state.ReasonConnectFailed
		if c := o.Condition(state.MirrorSynced); missed && c.Status != state.True {
			t.Errorf("it is noticed only when the mirror is not connected any more: %+v", c)
		}
		return missed
	})
	f.wait(state.Ready, state.False, state.ReasonConnectFailed)
	if err := os.Rename(f.driver.socket+".away", f.driver.socket); err != nil {
		t.Fatal(err)
	}
	f.wait(state.Ready, state.True, "")
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// Another engine may take the socket while the connection to the first one goes on. It need not
// listen at once.
func TestSocketIsReplaced(t *testing.T) {
	f := setup(t)
	f.driver.foreign = true
	f.start()
	f.wait(state.Ready, state.True, "")
	if err := os.Rename(f.driver.socket, f.driver.socket+".away"); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: f.driver.socket})
	}
	if err != nil {
		t.Fatal(err)
	}
	f.wait(state.EngineReady, state.False, state.ReasonConnectFailed)
	if err := syscall.Listen(fd, 10); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "socket")
	listener, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	other := fakeengine.Serve(listener)
	defer other.Close()
	other.SetFacts(func(facts *fakeengine.Facts) { facts.ID = "other" })
	f.follow(func(o instance.Observation) bool {
		return o.State.Engine.ID == "other" && o.Condition(state.Ready).Status == state.True
	})
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// remoteDriver says that its engines are reached over ssh.
type remoteDriver struct{ engine.Driver }

func (remoteDriver) Endpoint() (endpoint.Endpoint, error) {
	return endpoint.Endpoint{Host: "ssh://user@host"}, nil
}

// An engine that is away for a night is not logged in to each second.
func TestSSHIsAskedSeldom(t *testing.T) {
	l := &loop{inst: &instance.Instance{}, driver: &fakeDriver{}}
	if pause := l.sourceOptions(nil).MaxBackoff; pause != 0 {
		t.Errorf("on a socket, the pause is at most %s", pause)
	}
	l.driver = remoteDriver{l.driver}
	if pause := l.sourceOptions(nil).MaxBackoff; pause < 10*time.Second {
		t.Errorf("over ssh, the pause is at most %s", pause)
	}
}
