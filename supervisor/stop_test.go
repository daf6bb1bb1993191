//go:build !windows

package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// outcome returns what was left for who asked.
func (f *fixture) outcome(request string) (requests.Outcome, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	return requests.Await(ctx, f.inst.Paths.RequestsDir(), request)
}

// Of those who ask for a stop none is lost: each takes from it what it can, and all are told.
func TestStopHasManyAskers(t *testing.T) {
	f := setup(t)
	stopping := make(chan struct{})
	f.driver.stopping = func(graceful context.Context) { close(stopping); <-graceful.Done() }
	f.start()
	f.wait(state.Ready, state.True, "")
	asked := []string{f.ask(client.ToRestart())}
	<-stopping
	asked = append(asked, f.ask(requests.StopOptions{}), f.ask(requests.StopOptions{Force: true}))
	if s, err := f.stopped(false); err != nil || s.Supervisor != nil {
		t.Errorf("stopped: %v, %+v", err, s.Supervisor)
	}
	for n, request := range asked {
		if o, err := f.outcome(request); err != nil || o.State != state.ActionSucceeded {
			t.Errorf("asker %d is told %+v, %v", n, o, err)
		}
	}
	f.current("", false) // not kept: somebody did not ask for that
}

// A stop is for one supervisor, which has ended perhaps.
func TestStopForAnother(t *testing.T) {
	f := setup(t)
	void, err := requests.Submit(f.inst.Paths.RequestsDir(), requests.Request{
		Type: requests.RequestStop, Reply: true, Stop: &requests.Stop{Supervisor: process.ID{PID: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.start()
	f.wait(state.Ready, state.True, "")
	if o, err := f.outcome(void); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the asker is told %+v, %v, want that it was dropped", o, err)
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// launched returns the supervisor's loop as it launches the engine, for a test that hands it the events.
func (f *fixture) launched() *loop {
	f.t.Helper()
	l, err := newLoop(f.inst, f.driver, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		l.end()
		l.workers.Wait()
	})
	f.loop = l
	l.launch()
	return l
}

// Who asks by a request sends a signal too, if that is not begun soon. Both together are one stop, as the
// request says: one that takes a start back stops no engine that ran before.
func TestStopBySignalAndRequest(t *testing.T) {
	f := setup(t)
	l := f.launched()
	f.ask(requests.StopOptions{Undo: true})
	for range 2 {
		if l.handle(signalled{syscall.SIGTERM}); l.engine.phase != engineUndoing {
			t.Fatalf("the engine's phase is %d, want that the start is taken back (%d)", l.engine.phase, engineUndoing)
		}
	}
	l.handle(requested{l.stopRequests[0]})
	if len(l.stopRequests) != 1 {
		t.Errorf("one request to stop was taken %d times", len(l.stopRequests))
	}
}

// Where an instance was removed and made again, its former supervisor leaves the requests for the
// new one alone.
func TestRequestsOfAnother(t *testing.T) {
	f := setup(t)
	l := f.launched()
	l.orphaned()
	dir := f.inst.Paths.RequestsDir()
	for _, r := range []requests.Request{
		{Type: requests.RequestStop, Stop: &requests.Stop{Supervisor: process.ID{PID: 1}}},
		{Type: requests.RequestDelete, Kind: state.Volumes, Key: "data"},
	} {
		var err error
		if r.ID, err = requests.Submit(dir, r); err != nil {
			t.Fatal(err)
		}
		l.handle(requested{r})
		if _, err := os.Stat(filepath.Join(dir, r.ID+".json")); err != nil {
			t.Errorf("a request to %s is gone: %v", r.Type, err)
		}
	}
}

// What comes before the engine answers waits for it; what was asked of an engine that is being
// stopped is dropped.
func TestRequestsBeforeTheEngine(t *testing.T) {
	f := setup(t)
	launch := make(chan struct{})
	f.driver.launch = func(context.Context) error { <-launch; return nil }
	f.start()
	f.wait(state.EngineReady, state.False, state.ReasonStarting)
	sync, err := requests.Submit(f.inst.Paths.RequestsDir(), requests.Request{Type: requests.RequestSync, Reply: true})
	if err != nil {
		t.Fatal(err)
	}
	close(launch)
	if o, err := f.outcome(sync); err != nil || o.State != state.ActionSucceeded {
		t.Errorf("the outcome is %+v, %v", o, err)
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}

// Containers get the time that they were given, which the state tells; what had to be killed
// is named.
func TestGrace(t *testing.T) {
	for name, tc := range map[string]struct {
		stopTimeout *int
		patience    time.Duration
		words       string
	}{
		"the engine's default": {nil, 0, "the engine is being stopped"},
		"less than that":       {new(1), 0, "the engine is being stopped"},
		"a long time":          {new(100), 0, "the engine is being stopped; its containers may take up to 1m55s"},
		"all the time":         {new(-1), 0, "the engine is being stopped; a container may take as long as it likes"},
		"patience":             {new(1), 3 * time.Minute, "the engine is being stopped; its containers may take up to 3m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			stopping, stop := make(chan struct{}), make(chan struct{})
			f.driver.stopping = func(graceful context.Context) {
				close(stopping)
				<-stop
				if graceful.Err() != nil {
					t.Error("the time was up at once")
				}
			}
			f.start()
			f.wait(state.Ready, state.True, "")
			e := f.driver.running.engine
			e.Add(fakeengine.Objects{Containers: []fakeengine.ContainerSpec{{Name: "web", State: "running", StopTimeout: tc.stopTimeout}}})
			f.awaitContainer("web")
			f.driver.killed = append(e.IDs("containers"), strings.Repeat("b", 64))
			request := f.ask(requests.StopOptions{Patience: tc.patience})
			<-stopping
			f.waitMessage(state.EngineReady, tc.words)
			close(stop)
			if _, err := f.stopped(false); err != nil {
				t.Error(err)
			}
			if o, err := f.outcome(request); err != nil || !slices.Equal(o.Killed, []string{"bbbbbbbbbbbb", "web"}) {
				t.Errorf("the outcome is %+v, %v", o, err)
			}
		})
	}
}

// waitMessage returns when a condition has a message.
func (f *fixture) waitMessage(typ, message string) {
	f.t.Helper()
	f.follow(func(o instance.Observation) bool { return o.Condition(typ).Message == message })
}

// awaitContainer returns when a container of that name is mirrored.
func (f *fixture) awaitContainer(name string) {
	f.t.Helper()
	f.follow(func(o instance.Observation) bool {
		for _, c := range o.State.Containers {
			if c.Name == name {
				return true
			}
		}
		return false
	})
}

func (f *fixture) follow(done func(instance.Observation) bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	var last instance.Observation
	err := client.FollowObjects(ctx, f.inst, func(o instance.Observation) (bool, error) {
		last = o
		return o.State == nil || !done(o), nil
	})
	if err != nil {
		f.t.Fatalf("%+v: %v", last.State, err)
	}
}

// A process manager is told when the instance is ready, and when it is being stopped.
func TestNotify(t *testing.T) {
	f := setup(t)
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	n := newNotifier()
	if _, ok := os.LookupEnv("NOTIFY_SOCKET"); ok {
		t.Error("what is started would tell, too")
	}
	told := func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	f.notify = n
	f.start()
	if got := told(); got != "READY=1" {
		t.Errorf("it tells %q", got)
	}
	if o := instance.Observe(f.inst); o.Condition(state.Ready).Status != state.True {
		t.Error("it tells that before it is so")
	}
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
	if got := told(); got != "STOPPING=1" {
		t.Errorf("it tells %q", got)
	}
}
