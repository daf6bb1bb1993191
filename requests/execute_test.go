package requests_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// rig is a mirror with what does requests.
type rig struct{ *mirrortest.Rig }

func newRig(t *testing.T, opts mirror.SourceOptions) *rig {
	t.Helper()
	return &rig{mirrortest.New(t, opts)}
}

// newSynced is newRig for an engine that has so many objects, when they are mirrored.
func newSynced(t *testing.T, containers, images, volumes, networks int) *rig {
	t.Helper()
	return &rig{mirrortest.NewSynced(t, mirror.SourceOptions{}, containers, images, volumes, networks)}
}

// again is the next supervisor of the same instance and engine.
func (r *rig) again() *rig { return &rig{r.Rig.Again()} }

// ask submits a request and waits for its outcome.
func (r *rig) ask(q requests.Request) requests.Outcome {
	r.T.Helper()
	q.Reply = true
	id, err := requests.Submit(r.RequestsDir(), q)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.outcome(id)
}

func (r *rig) outcome(id string) requests.Outcome {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	o, err := requests.Await(ctx, r.RequestsDir(), id)
	if err != nil {
		r.T.Fatalf("outcome of request %s: %v", id, err)
	}
	return o
}

func action(id, what string) requests.Request {
	return requests.Request{Type: requests.RequestAction, Kind: state.Containers, Key: id, Action: what}
}

func (r *rig) submit(q requests.Request) string {
	r.T.Helper()
	id, err := requests.Submit(r.RequestsDir(), q)
	if err != nil {
		r.T.Fatal(err)
	}
	return id
}

// noRequests waits until all requests are removed: the outcome is there a moment
// earlier.
func (r *rig) noRequests() {
	r.T.Helper()
	var entries []os.DirEntry
	for end := time.Now().Add(mirrortest.Patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var err error
		if entries, err = os.ReadDir(r.RequestsDir()); err != nil {
			r.T.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
	}
	r.T.Errorf("requests are still there: %v", entries)
}

func TestActions(t *testing.T) {
	const (
		done    = "done"    // the engine was asked, and did it
		nothing = "nothing" // it was so already: Succeeded, and the engine was not asked
		refused = "refused" // Failed, and the engine was not asked
	)
	type row map[string]string // by action
	tests := []struct {
		state container.ContainerState
		want  row
	}{
		{container.StateCreated, row{"start": done, "stop": nothing, "pause": refused, "unpause": refused, "restart": done}},
		{container.StateRunning, row{"start": nothing, "stop": done, "pause": done, "unpause": nothing, "restart": done}},
		{container.StatePaused, row{"start": refused, "stop": done, "pause": nothing, "unpause": done, "restart": done}},
		{container.StateRestarting, row{"start": nothing, "stop": done, "pause": refused, "unpause": refused, "restart": done}},
		{container.StateExited, row{"start": done, "stop": nothing, "pause": refused, "unpause": refused, "restart": done}},
		{container.StateDead, row{"start": refused, "stop": nothing, "pause": refused, "unpause": refused, "restart": refused}},
		{container.StateRemoving, row{"start": refused, "stop": refused, "pause": refused, "unpause": refused, "restart": refused}},
	}
	after := map[string]string{"start": "running", "stop": "exited", "pause": "paused", "unpause": "running", "restart": "running"}
	r := newSynced(t, 0, 1, 0, 0)
	for _, tt := range tests {
		for _, what := range requests.Actions() {
			t.Run(fmt.Sprintf("%s/%s", tt.state, what), func(t *testing.T) {
				id := r.Engine.CreateContainer(fmt.Sprintf("%s-%s", tt.state, what), "image0:latest")
				r.Engine.ChangeContainer(id, func(c *container.InspectResponse) {
					c.State.Status = tt.state
				}, "start")
				r.Await("the container", func(s *state.State) bool { return s.Containers[id].State == string(tt.state) })
				call := "POST /containers/{id}/" + what
				before := r.Engine.Calls()[call]
				o := r.ask(action(id, what))
				asked := r.Engine.Calls()[call] - before

				want := tt.want[what]
				if (want == refused) != (o.State == state.ActionFailed) || (want == refused) != (o.Error != "") {
					t.Errorf("outcome is %+v, want %s", o, want)
				}
				if (asked == 1) != (want == done) || asked > 1 {
					t.Errorf("the engine was asked %d times, want %s", asked, want)
				}
				s, err := state.Read(r.Path)
				if err != nil {
					t.Fatal(err)
				}
				last := s.Containers[id].LastAction
				if last == nil || last.Action != what || last.State != o.State || last.Error != o.Error || last.CompletedAt.IsZero() {
					t.Errorf("last action is %+v, the outcome was %+v", last, o)
				}
				if got := s.Containers[id].State; want == done && got != after[what] {
					t.Errorf("the outcome is there, and the state is %s, want %s", got, after[what])
				}
			})
		}
	}
	r.AwaitEqual()
	r.noRequests()
}

func TestActionUnknown(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Start()
	for _, q := range []requests.Request{
		action("0123", "start"),
		{Type: requests.RequestAction, Kind: state.Containers, Key: "x", Action: "dance"},
		{Type: requests.RequestAction, Kind: state.Volumes, Key: "x", Action: "start"},
		{Type: requests.RequestDelete, Kind: state.Namespaces, Key: "moby"},
		{Type: requests.RequestCancel, Kind: state.Images, Key: "x"},
		{Type: "wish"},
	} {
		if o := r.ask(q); o.State != state.ActionFailed || o.Error == "" {
			t.Errorf("outcome of %+v is %+v", q, o)
		}
	}
	r.noRequests()
}

// A start that fails leaves its reason in the container without an event.
func TestFailedStart(t *testing.T) {
	r := newSynced(t, 2, 1, 0, 0)
	id := r.Engine.IDs("containers")[1] // not running
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.StartFails = "no such program" })
	if o := r.ask(action(id, "start")); o.State != state.ActionFailed {
		t.Errorf("outcome is %+v", o)
	}
	s, err := state.Read(r.Path)
	if c := s.Containers[id]; err != nil || c.Error != "no such program" || c.ExitCode != 127 {
		t.Errorf("the container is %+v, %v", c, err)
	}
	r.AwaitEqual()
}

// A slow stop of one container delays nothing of another.
func TestSlowStop(t *testing.T) {
	r := newSynced(t, 4, 1, 1, 0)
	ids := r.Engine.IDs("containers") // 0 and 2 run
	r.Engine.Hang()                   // so that the stop is under way for sure, and stays so
	slow := r.submit(requests.Request{Type: requests.RequestAction, Kind: state.Containers, Key: ids[0], Action: "stop", Reply: true})
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.StopTakes = mirrortest.Patience })
	r.Engine.Resume()
	for ext := ""; ext == ""; {
		if _, err := os.Stat(filepath.Join(r.RequestsDir(), slow+".begun")); err == nil {
			ext = ".begun"
		}
	}
	r.Await("the stop under way", func(s *state.State) bool {
		a := s.Containers[ids[0]].Action
		return a != nil && a.Action == "stop" && a.Request == slow && !a.RequestedAt.IsZero()
	})
	if o := r.ask(action(ids[1], "start")); o.State != state.ActionSucceeded {
		t.Errorf("start beside it: %+v", o)
	}
	if o := r.ask(requests.Request{Type: requests.RequestDelete, Kind: state.Volumes, Key: "volume0"}); o.State != state.ActionSucceeded {
		t.Errorf("deletion beside it: %+v", o)
	}
	if o := r.ask(requests.Request{Type: requests.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync beside it: %+v", o)
	}
}

// An engine may hang for one container, or fail at it, for good. An action on that fails.
func TestContainerHangs(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(3, 1, 0, 0)
	r.Executor.SetLooking(100 * time.Millisecond)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	ids := r.Engine.IDs("containers") // 0 and 2 run
	for _, fail := range []func(*http.Request){
		func(q *http.Request) { <-q.Context().Done() },
		func(*http.Request) { panic(http.ErrAbortHandler) }, // the connection ends
	} {
		r.Engine.SetFaults(func(f *mirrortest.Faults) {
			f.Answer = func(_ http.ResponseWriter, q *http.Request, path string) bool {
				if path == "/containers/"+ids[0]+"/json" {
					fail(q)
				}
				return path == "/containers/"+ids[0]+"/json"
			}
		})
		if o := r.ask(action(ids[0], "stop")); o.State != state.ActionFailed || !strings.Contains(o.Error, "answers otherwise") {
			t.Errorf("outcome is %+v", o)
		}
	}
	if n := r.Engine.Calls()["POST /containers/{id}/stop"]; n != 0 {
		t.Errorf("the engine was asked to stop it, %d times", n)
	}
}

// A request that is withdrawn while another is under way leaves no trace.
func TestWithdrawn(t *testing.T) {
	r := newSynced(t, 2, 1, 0, 0)
	id := r.Engine.IDs("containers")[1] // does not run
	r.Engine.Hang()
	start := r.submit(requests.Request{Type: requests.RequestAction, Kind: state.Containers, Key: id, Action: "start", Reply: true})
	queued := func(n int) {
		for count := make(chan int); ; {
			r.Do <- func() { go func(n int) { count <- n }(r.Executor.Queued(id)) }
			if <-count == n {
				return
			}
		}
	}
	for n, what := range []string{"restart", "stop", "unpause"} {
		req := r.submit(action(id, what))
		queued(2 + n)
		if !requests.Withdraw(r.RequestsDir(), req) {
			t.Errorf("%s can't be withdrawn", what)
		}
	}
	r.Engine.Resume()
	if o := r.outcome(start); o.State != state.ActionSucceeded {
		t.Errorf("start: %+v", o)
	}
	queued(0)
	for call, n := range r.Engine.Calls() {
		if strings.HasPrefix(call, "POST") && !strings.HasSuffix(call, "/start") {
			t.Errorf("the engine was asked %s, %d times", call, n)
		}
	}
	if o := r.ask(requests.Request{Type: requests.RequestSync}); o.State != state.ActionSucceeded { // all is written
		t.Errorf("sync: %+v", o)
	}
	s, err := state.Read(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	if last := s.Containers[id].LastAction; last == nil || last.Action != "start" {
		t.Errorf("last action is %+v", last)
	}
	if under := s.Containers[id].Action; under != nil {
		t.Errorf("%+v is under way", under)
	}
	r.noRequests()
}

// From any number of processes at once, also while the engine is down: none is lost,
// none is done twice.
func TestManyRequests(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	const n = 40
	r.Engine.Populate(n, 1, 0, 0)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	ids := r.Engine.IDs("containers")
	r.Engine.Hang()
	submitted := make([]string, 2*n)
	var asking sync.WaitGroup
	for i := range submitted {
		asking.Go(func() {
			q := action(ids[i/2], "restart")
			q.Reply = true
			id, err := requests.Submit(r.RequestsDir(), q)
			if err != nil {
				t.Error(err)
			}
			submitted[i] = id
		})
	}
	asking.Wait()
	r.Engine.Resume()
	for _, id := range submitted {
		if o := r.outcome(id); o.State != state.ActionSucceeded {
			t.Errorf("outcome: %+v", o)
		}
	}
	if got := r.Engine.Calls()["POST /containers/{id}/restart"]; got != 2*n {
		t.Errorf("the engine was asked to restart %d times, want %d", got, 2*n)
	}
	r.noRequests()
	r.AwaitEqual()
}

// begun submits a request as a supervisor leaves it that began it and died.
func (r *rig) begun(q requests.Request) string {
	r.T.Helper()
	q.Reply = true
	id := r.submit(q)
	path := filepath.Join(r.RequestsDir(), id)
	if err := os.Rename(path+".json", path+".begun"); err != nil {
		r.T.Fatal(err)
	}
	return id
}

// A container whose time to stop has no end is waited for.
func TestStopThatMayTakeForever(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	r.Engine.ChangeContainer(id, func(c *container.InspectResponse) { c.Config.StopTimeout = new(-1) })
	q := action(id, "stop")
	q.Sent = true
	sent := r.begun(q)
	r.Executor.SetPatience(0)
	r.Start()
	mirrortest.Until(t, "nobody looks whether it has stopped", func() bool { return r.Engine.Calls()["GET /containers/{id}"] >= 5 })
	r.Engine.ExitContainer(id, 0)
	if o := r.outcome(sent); o.State != state.ActionSucceeded {
		t.Errorf("outcome: %+v", o)
	}
}

func TestStopTimeout(t *testing.T) {
	for _, tc := range []struct {
		seconds *int
		want    time.Duration
	}{{nil, 10 * time.Second}, {new(0), 0}, {new(90), 90 * time.Second}, {new(-1), requests.Forever}, {new(math.MaxInt), requests.Forever}} {
		if got := requests.StopTimeout(&container.Config{StopTimeout: tc.seconds}); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
}

// A request that is begun while the directory is read is found twice.
func TestFoundTwice(t *testing.T) {
	dir := t.TempDir()
	data, _ := json.Marshal(requests.Request{ID: "one"})
	for _, name := range []string{"one.json", "one.begun"} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	_ = requests.Follow(ctx, dir, slog.New(slog.DiscardHandler), func(requests.Request) { n++; cancel() })
	if n != 1 {
		t.Errorf("brought %d times", n)
	}
}

// An outcome waits for an asker that is stopped for a while, but not for good.
func TestOutcomeWaits(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"slow": time.Hour, "never": 48 * time.Hour} {
		path := filepath.Join(dir, name+".done")
		if err := os.WriteFile(path, []byte(`{"id":"`+name+`","state":"Succeeded"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := requests.Drop(dir); err != nil {
		t.Fatal(err)
	}
	if o, err := requests.Await(t.Context(), dir, "slow"); err != nil || o.State != state.ActionSucceeded {
		t.Errorf("the outcome is %+v, %v", o, err)
	}
	if _, err := requests.Await(t.Context(), dir, "never"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an outcome that nobody fetches stays: %v", err)
	}
}

// What a supervisor may have sent and did not see the end of is never sent again. What it
// shows in the end is the outcome.
func TestSentBefore(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(6, 1, 0, 0)
	ids := r.Engine.IDs("containers") // 0, 2 and 4 run
	started := map[string]time.Time{}
	for _, id := range ids {
		r.Engine.ChangeContainer(id, func(c *container.InspectResponse) {
			c.Config.StopTimeout = new(int)
			started[id], _ = time.Parse(time.RFC3339Nano, c.State.StartedAt)
		})
	}
	sent := func(id, what string, startedBefore time.Time) requests.Request {
		q := action(id, what)
		q.Sent, q.StartedBefore = true, startedBefore
		return q
	}
	stopped := r.begun(sent(ids[1], "stop", time.Time{}))
	restarted := r.begun(sent(ids[0], "restart", started[ids[0]].Add(-time.Second)))
	earlier := r.begun(sent(ids[4], "restart", started[ids[4]].Add(time.Hour)))
	late := r.begun(sent(ids[3], "start", time.Time{}))
	never := r.begun(sent(ids[2], "restart", started[ids[2]]))
	// As of a containerd that was killed between the removal of a container's old task and the new one.
	r.Engine.ChangeContainer(ids[5], func(c *container.InspectResponse) { c.State.StartedAt = "0001-01-01T00:00:00Z" })
	between := r.begun(sent(ids[5], "start", time.Now()))
	r.Executor.SetPatience(mirrortest.Patience)
	stop := r.Start()
	for name, id := range map[string]string{"stop of what is stopped": stopped, "restart of what was started since": restarted, "restart after which the clock was set back": earlier} {
		if o := r.outcome(id); o.State != state.ActionSucceeded {
			t.Errorf("%s: %+v", name, o)
		}
	}
	r.Engine.StartContainer(ids[3]) // the engine was still at it
	if o := r.outcome(late); o.State != state.ActionSucceeded {
		t.Errorf("start that took its time: %+v", o)
	}
	stop()
	r = r.again()
	r.Executor.SetPatience(0)
	r.Start()
	for _, id := range []string{never, between} {
		if o := r.outcome(id); o.State != state.ActionFailed || !strings.Contains(o.Error, "not known") {
			t.Errorf("start that may have been done: %+v", o)
		}
	}
	for call, n := range r.Engine.Calls() {
		if strings.HasPrefix(call, "POST") {
			t.Errorf("the engine was asked %s, %d times", call, n)
		}
	}
	r.noRequests()
}

// What a supervisor began and did not come to send is done by the next, though another
// request did the same meanwhile.
func TestBegunBefore(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	first, second := r.begun(action(id, "restart")), r.begun(action(id, "restart"))
	r.Start()
	for _, req := range []string{first, second} {
		if o := r.outcome(req); o.State != state.ActionSucceeded {
			t.Errorf("restart: %+v", o)
		}
	}
	if n := r.Engine.Calls()["POST /containers/{id}/restart"]; n != 2 {
		t.Errorf("the engine was asked to restart %d times, want 2", n)
	}
	r.noRequests()
}

// The supervisor dies while the engine is at an action: the next learns how it ended.
func TestSupervisorDiesAtAction(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	stop := r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.StopTakes = mirrortest.Patience })
	req := r.submit(requests.Request{Type: requests.RequestAction, Kind: state.Containers, Key: id, Action: "stop", Reply: true})
	for r.Engine.Calls()["POST /containers/{id}/stop"] == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Await("the stop under way", func(s *state.State) bool { return s.Containers[id].Action != nil })
	stop()
	next := r.again()
	if c, _ := next.Store.Container(id); c.Action != nil {
		t.Errorf("%+v is under way without a supervisor", c.Action)
	}
	next.Executor.SetPatience(mirrortest.Patience)
	next.Start()
	r.Engine.ExitContainer(id, 0)
	if o := next.outcome(req); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	if n := r.Engine.Calls()["POST /containers/{id}/stop"]; n != 1 {
		t.Errorf("the engine was asked to stop it %d times", n)
	}
}

// The engine dies in the middle of an action, and another one does not have the container.
func TestEngineDiesAtAction(t *testing.T) {
	r := newSynced(t, 1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.StopTakes = mirrortest.Patience })
	req := r.submit(requests.Request{Type: requests.RequestAction, Kind: state.Containers, Key: id, Action: "stop", Reply: true})
	for r.Engine.Calls()["POST /containers/{id}/stop"] == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = r.Engine.Close()
	next, err := fakeengine.Start(filepath.Join(r.Dir, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	o := r.outcome(req)
	if o.State != state.ActionFailed || !strings.HasPrefix(o.Error, "the engine did not say how it ended: ") || strings.Contains(o.Error, "http") {
		t.Errorf("outcome is %+v", o)
	}
}

// The outcome was written, then the supervisor died: the next one only says so.
func TestDecidedBefore(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	q := action(id, "restart")
	q.Reply = true
	req := r.submit(q)
	old := r.Store
	old.Apply(mirror.Update{Changes: []mirror.Change{{Kind: state.Containers, Objects: []any{state.Container{
		ID: id, State: state.StateRunning, LastAction: &state.LastAction{Request: req, Action: "restart", State: state.ActionFailed, Error: "as it was"},
	}}}}})
	r.Start()
	if o := r.outcome(req); o.Error != "as it was" {
		t.Errorf("outcome is %+v", o)
	}
	if n := r.Engine.Calls()["POST /containers/{id}/restart"]; n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

func deletion(kind state.Kind, key, ref string) requests.Request {
	return requests.Request{Type: requests.RequestDelete, Kind: kind, Key: key, Reference: ref, Reply: true}
}

func TestDeletionWaits(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	img := r.Engine.CreateImage("app:1")
	user := r.Engine.CreateContainer("user", "app:1")
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	id := r.submit(deletion(state.Images, img, "app:1"))
	s := r.Await("why it is refused", func(s *state.State) bool { return s.Images[img].Deletions["app:1"].Error != "" })
	if d := s.Images[img].Deletions["app:1"]; d.Request != id || !strings.Contains(d.Error, user[:12]) || d.RequestedAt.IsZero() {
		t.Errorf("deletion is %+v, want it to name the container", d)
	}
	r.Source.Wake() // what is recorded survives a full sync
	r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs > 1 })
	if s, err := state.Read(r.Path); err != nil || s.Images[img].Deletions["app:1"].Request != id {
		t.Errorf("after a sync: %+v, %v", s.Images[img], err)
	}
	r.Engine.RemoveContainer(user)
	if o := r.outcome(id); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.Await("the image gone", func(s *state.State) bool { _, ok := s.Images[img]; return !ok })
	r.noRequests()
}

// A refused deletion is repeated after growing waits, as long as nothing changes: that it is looked
// up after each try is no change.
func TestRefusedDeletionsRest(t *testing.T) {
	r := newSynced(t, 1, 1, 0, 0)
	tries := make(chan time.Time, 100)
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(w http.ResponseWriter, q *http.Request, _ string) bool {
			if q.Method == http.MethodDelete {
				tries <- time.Now()
				http.Error(w, `{"message":"it is in use"}`, http.StatusConflict)
			}
			return q.Method == http.MethodDelete
		}
	})
	for _, kind := range []state.Kind{state.Containers, state.Images} {
		id := r.submit(deletion(kind, r.Engine.IDs(string(kind))[0], ""))
		first := <-tries
		<-tries
		if wait := (<-tries).Sub(first); wait < 2*time.Second { // 1 s and 2 s, less a fifth
			t.Errorf("a deletion of %s is tried three times within %s", kind, wait)
		}
		q := deletion(kind, r.Engine.IDs(string(kind))[0], "")
		q.Type = requests.RequestCancel
		r.ask(q)
		r.outcome(id)
	}
}

// Deletions of many objects are not all sent at once.
func TestManyDeletions(t *testing.T) {
	const n, most = 100, 32
	r := newSynced(t, 0, 0, n, 0)
	var now, peak atomic.Int64
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(_ http.ResponseWriter, q *http.Request, _ string) bool {
			if q.Method == http.MethodDelete {
				if is := now.Add(1); is > peak.Load() {
					peak.Store(is)
				}
				time.Sleep(10 * time.Millisecond) // long enough for all others to come
				now.Add(-1)
			}
			return false
		}
	})
	s, err := state.Read(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range s.Volumes {
		r.submit(requests.Request{Type: requests.RequestDelete, Kind: state.Volumes, Key: name, CreatedAt: v.CreatedAt})
	}
	r.noRequests()
	if peak.Load() > most {
		t.Errorf("%d deletions at once, want %d at most", peak.Load(), most)
	}
	r.AwaitEqual()
}

// What was to be deleted on one engine is not deleted on another that takes its place,
// though the image has the same id there.
func TestDeletionOfOtherEngine(t *testing.T) {
	r := newSynced(t, 1, 1, 0, 0)
	id := r.Engine.IDs("images")[0]
	req := r.submit(deletion(state.Images, id, ""))
	r.Await("a refusal", func(s *state.State) bool { return s.Images[id].Deletions[id].Error != "" })
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.ID = "another" })
	r.Engine.EndStreams()
	if o := r.outcome(req); o.State != state.ActionFailed || o.Error != "the engine is another one now" {
		t.Errorf("outcome is %+v", o)
	}
	r.Engine.RemoveContainer(r.Engine.IDs("containers")[0])
	r.AwaitEqual()
	if len(r.Engine.IDs("images")) != 1 {
		t.Error("the other engine's image was deleted")
	}
}

func TestDeletionOfTag(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	img := r.Engine.CreateImage("app:1", "app:2")
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	if o := r.ask(deletion(state.Images, img, "app:1")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.Await("one tag left", func(s *state.State) bool { return fmt.Sprint(s.Images[img].RepoTags) == "[app:2]" })

	// A reference that is another image's by now is not what was meant.
	other := r.Engine.CreateImage("app:2")
	if o := r.ask(deletion(state.Images, img, "app:2")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.Await("the other image", func(s *state.State) bool { return fmt.Sprint(s.Images[other].RepoTags) == "[app:2]" })
	r.AwaitEqual()
}

// What was deleted is not in the file any more when the outcome is told, though the
// mirror has not found out for itself.
func TestDeletedIsGone(t *testing.T) {
	for _, test := range []struct {
		reference string
		left      string // of the tags
	}{
		{"app:1", "[app:2]"}, {"one:1", ""}, {"one@sha256:" + strings.Repeat("a", 64), ""}, {"", ""},
	} {
		t.Run(test.reference, func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.Engine.Add(fakeengine.Objects{Images: []fakeengine.ImageSpec{
				{Tags: []string{"app:1", "app:2"}}, {Tags: []string{"one:1"}, Digests: []string{"one@sha256:" + strings.Repeat("a", 64)}},
			}})
			r.Start()
			s := r.Await("MirrorSynced", mirrortest.Synced)
			key := ""
			for id, i := range s.Images {
				if strings.HasPrefix(i.RepoTags[0], cmp.Or(test.reference, "one")[:3]) {
					key = id
				}
			}
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.Drop = func(events.Message) bool { return true }
				f.ListDelay = mirrortest.Patience
			})
			if o := r.ask(deletion(state.Images, key, test.reference)); o.State != state.ActionSucceeded {
				t.Fatalf("outcome is %+v", o)
			}
			s, err := state.Read(r.Path)
			if err != nil {
				t.Fatal(err)
			}
			left := ""
			if i, ok := s.Images[key]; ok {
				left = fmt.Sprint(i.RepoTags)
			}
			if left != test.left {
				t.Errorf("left of the image are %q, want %q", left, test.left)
			}
		})
	}
}

// A volume made anew under the name survives.
func TestDeletionIsPinned(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprintf("down=%v", down), func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.Engine.CreateVolume("v")
			r.Engine.CreateImage("app:1")
			user := r.Engine.CreateContainer("user", "app:1", "v")
			stop := r.Start()
			s := r.Await("MirrorSynced", mirrortest.Synced)
			q := deletion(state.Volumes, "v", "")
			q.CreatedAt = s.Volumes["v"].CreatedAt
			id := r.submit(q)
			r.Await("why it is refused", func(s *state.State) bool {
				return s.Volumes["v"].Deletion != nil && s.Volumes["v"].Deletion.Error != ""
			})
			if down {
				stop()
				// Nor does anybody hear of it later: that it was removed would be a proof.
				r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } })
			}
			r.Engine.SetFacts(func(f *mirrortest.Facts) { f.ClockOffset = time.Hour }) // made later, to the second
			r.Engine.RemoveVolume("v")
			r.Engine.CreateVolume("v")
			r.Engine.RemoveContainer(user)
			if down {
				r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = nil })
				next := r.again()
				next.Start()
				r = next
			}
			o := r.outcome(id)
			if down && o.State != state.ActionFailed || !down && o.State != state.ActionSucceeded {
				t.Errorf("outcome is %+v", o)
			}
			r.Await("the new volume", func(s *state.State) bool {
				v, ok := s.Volumes["v"]
				return ok && v.Deletion == nil && v.CreatedAt.After(q.CreatedAt)
			})
			r.AwaitEqual()
			if n := len(r.Engine.IDs("volumes")); n != 1 {
				t.Errorf("there are %d volumes", n)
			}
		})
	}
}

// twiceRefused returns a rig with a container whose deletion was asked for twice, and is refused since it
// runs.
func twiceRefused(t *testing.T) (r *rig, id string, asked []string) {
	t.Helper()
	r = newSynced(t, 1, 1, 0, 0)
	id = r.Engine.IDs("containers")[0]
	asked = []string{r.submit(deletion(state.Containers, id, "")), r.submit(deletion(state.Containers, id, ""))}
	r.Await("why it is refused", func(s *state.State) bool {
		return s.Containers[id].Deletion != nil && s.Containers[id].Deletion.Error != ""
	})
	return r, id, asked
}

func TestDeletionCancelled(t *testing.T) {
	r, id, asked := twiceRefused(t)
	if o := r.ask(requests.Request{Type: requests.RequestCancel, Kind: state.Containers, Key: id}); o.State != state.ActionSucceeded {
		t.Errorf("cancel: %+v", o)
	}
	for _, req := range asked {
		if o := r.outcome(req); o.State != requests.OutcomeCancelled {
			t.Errorf("cancelled deletion: %+v", o)
		}
	}
	r.Engine.ExitContainer(id, 0)
	s := r.Await("it exited", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	if s.Containers[id].Deletion != nil {
		t.Errorf("deletion is still %+v", s.Containers[id].Deletion)
	}
	if o := r.ask(requests.Request{Type: requests.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync: %+v", o)
	}
	if len(r.Engine.IDs("containers")) != 1 {
		t.Error("the container was deleted nevertheless")
	}
	r.noRequests()
}

// A deletion that waits is withdrawn like any request that is not begun: by removing its file.
func TestDeletionWithdrawn(t *testing.T) {
	r, id, asked := twiceRefused(t)
	for _, req := range asked {
		if !requests.Withdraw(r.RequestsDir(), req) {
			t.Errorf("%s can't be withdrawn", req)
		}
	}
	r.Engine.ExitContainer(id, 0)
	r.Await("no deletion", func(s *state.State) bool {
		c, ok := s.Containers[id]
		return !ok || c.Deletion == nil
	})
	if len(r.Engine.IDs("containers")) != 1 {
		t.Error("the container was deleted nevertheless")
	}
	r.noRequests()
}

func TestDeletionOfOwnNetwork(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	own, other := r.Engine.CreateNetwork("bridge"), r.Engine.CreateNetwork("nat")
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	if o := r.ask(deletion(state.Networks, own, "")); o.State != state.ActionFailed {
		t.Errorf("outcome is %+v", o)
	}
	if o := r.ask(deletion(state.Networks, other, "")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
}

// Podman removes a network from under its containers, unless it is told the name. An internal one has
// a gateway that docker's client does not take.
func TestDeletionOfPodmansNetwork(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.Podman = true })
	id := r.Engine.CreateNetwork("front")
	removed := make(chan string, 1)
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.NilGateway = true
		f.Answer = func(w http.ResponseWriter, req *http.Request, path string) bool {
			if req.Method != http.MethodDelete {
				return false
			}
			removed <- path
			w.WriteHeader(http.StatusNoContent)
			return true
		}
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	if o := r.ask(deletion(state.Networks, id, "")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	if path := <-removed; path != "/networks/front" {
		t.Errorf("removed by %s", path)
	}
}

func TestOwnNetwork(t *testing.T) {
	docker, windows := state.Engine{ID: "x", OS: "linux"}, state.Engine{ID: "x", OS: "windows"}
	podman := state.Engine{OS: "linux"}
	for _, test := range []struct {
		engine state.Engine
		name   string
		want   bool
	}{
		{docker, "bridge", true},
		{docker, "host", true},
		{docker, "none", true},
		{docker, "nat", false},
		{docker, "podman", false},
		{docker, "front", false},
		{windows, "nat", true},
		{windows, "none", true},
		{podman, "bridge", true},
		{podman, "podman", true},
		{podman, "front", false},
	} {
		if got := requests.OwnNetwork(test.engine, test.name); got != test.want {
			t.Errorf("OwnNetwork(%+v, %q) = %v", test.engine, test.name, got)
		}
	}
}

// Stopping the instance drops what is not decided, and who waits is told.
func TestDrop(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	stop := r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	req := r.submit(deletion(state.Containers, id, ""))
	r.Await("the deletion", func(s *state.State) bool { return s.Containers[id].Deletion != nil })
	stop()
	if err := requests.Drop(r.RequestsDir()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	if _, err := requests.Await(ctx, r.RequestsDir(), req); !os.IsNotExist(err) && err == nil {
		t.Errorf("Await returned %v", err)
	}
	r.noRequests()
}

func TestBadRequestFiles(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	if err := os.MkdirAll(r.RequestsDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	other, _ := json.Marshal(requests.Request{ID: "other"})
	for name, content := range map[string]string{"empty.json": "", "torn.json": `{"id":"to`, "renamed.json": string(other), "list.json": "[]"} {
		if err := os.WriteFile(filepath.Join(r.RequestsDir(), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.Start()
	for _, kind := range state.Kinds() { // it would be pending for good
		if o := r.ask(requests.Request{Type: requests.RequestDelete, Kind: kind}); o.State != state.ActionFailed {
			t.Errorf("deletion of %s without a key: %+v", kind, o)
		}
	}
	r.noRequests()
	special(t, filepath.Join(r.RequestsDir(), "special.json")) // it stays
	if o := r.ask(requests.Request{Type: requests.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync: %+v", o)
	}
}

// Somebody clears up: requests come through all the same.
func TestRequestsRemoved(t *testing.T) {
	wine.Skip(t)
	r := newRig(t, mirror.SourceOptions{})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	for _, remove := range []func() error{
		func() error { return os.RemoveAll(r.RequestsDir()) },
		func() error { return os.Rename(r.RequestsDir(), r.RequestsDir()+".old") },
		func() error { return os.RemoveAll(r.RequestsDir()) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if o := r.ask(requests.Request{Type: requests.RequestSync}); o.State != state.ActionSucceeded {
			t.Errorf("sync: %+v", o)
		}
	}
}
