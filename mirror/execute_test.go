package mirror_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// ask submits a request and waits for its outcome.
func (r *rig) ask(q mirror.Request) mirror.Outcome {
	r.t.Helper()
	q.Reply = true
	id, err := mirror.Submit(r.requests(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.outcome(id)
}

func (r *rig) outcome(id string) mirror.Outcome {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o, err := mirror.Await(ctx, r.requests(), id)
	if err != nil {
		r.t.Fatalf("outcome of request %s: %v", id, err)
	}
	return o
}

func action(id, what string) mirror.Request {
	return mirror.Request{Type: mirror.RequestAction, Kind: state.Containers, Key: id, Action: what}
}

func (r *rig) submit(q mirror.Request) string {
	r.t.Helper()
	id, err := mirror.Submit(r.requests(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// noRequests waits until all requests are removed: the outcome is there a moment
// earlier.
func (r *rig) noRequests() {
	r.t.Helper()
	var entries []os.DirEntry
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var err error
		if entries, err = os.ReadDir(r.requests()); err != nil {
			r.t.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
	}
	r.t.Errorf("requests are still there: %v", entries)
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
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(0, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	for _, tt := range tests {
		for _, what := range mirror.Actions() {
			t.Run(fmt.Sprintf("%s/%s", tt.state, what), func(t *testing.T) {
				id := r.engine.CreateContainer(fmt.Sprintf("%s-%s", tt.state, what), "image0:latest")
				r.engine.ChangeContainer(id, func(c *container.InspectResponse) {
					c.State.Status = tt.state
				}, "start")
				r.await("the container", func(s *state.State) bool { return s.Containers[id].State == string(tt.state) })
				call := "POST /containers/{id}/" + what
				before := r.engine.Calls()[call]
				o := r.ask(action(id, what))
				asked := r.engine.Calls()[call] - before

				want := tt.want[what]
				if (want == refused) != (o.State == state.ActionFailed) || (want == refused) != (o.Error != "") {
					t.Errorf("outcome is %+v, want %s", o, want)
				}
				if (asked == 1) != (want == done) || asked > 1 {
					t.Errorf("the engine was asked %d times, want %s", asked, want)
				}
				s, err := state.Read(r.path)
				if err != nil {
					t.Fatal(err)
				}
				last := s.Containers[id].LastAction
				if last == nil || last.Action != what || last.State != o.State || last.Error != o.Error || last.CompletedAt.IsZero() {
					t.Errorf("last action is %+v, the outcome was %+v", last, o)
				}
				if want == done {
					r.await("the state", func(s *state.State) bool { return s.Containers[id].State == after[what] })
				}
			})
		}
	}
	r.awaitEqual()
	r.noRequests()
}

func TestActionUnknown(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.start()
	for _, q := range []mirror.Request{
		action("0123", "start"),
		{Type: mirror.RequestAction, Kind: state.Containers, Key: "x", Action: "dance"},
		{Type: mirror.RequestAction, Kind: state.Volumes, Key: "x", Action: "start"},
		{Type: mirror.RequestDelete, Kind: state.Namespaces, Key: "moby"},
		{Type: mirror.RequestCancel, Kind: state.Images, Key: "x"},
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
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(2, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	id := r.engine.IDs("containers")[1] // not running
	r.engine.SetFaults(func(f *faults) { f.StartFails = "no such program" })
	if o := r.ask(action(id, "start")); o.State != state.ActionFailed {
		t.Errorf("outcome is %+v", o)
	}
	r.await("the reason", func(s *state.State) bool {
		return s.Containers[id].Error == "no such program" && s.Containers[id].ExitCode == 127
	})
	r.awaitEqual()
}

// A slow stop of one container delays nothing of another.
func TestSlowStop(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(4, 1, 1, 0)
	r.start()
	r.await("MirrorSynced", synced)
	ids := r.engine.IDs("containers") // 0 and 2 run
	r.engine.Hang()                   // so that the stop is under way for sure, and stays so
	slow := r.submit(mirror.Request{Type: mirror.RequestAction, Kind: state.Containers, Key: ids[0], Action: "stop", Reply: true})
	r.engine.SetFaults(func(f *faults) { f.StopTakes = patience })
	r.engine.Resume()
	for ext := ""; ext == ""; {
		if _, err := os.Stat(filepath.Join(r.requests(), slow+".begun")); err == nil {
			ext = ".begun"
		}
	}
	if o := r.ask(action(ids[1], "start")); o.State != state.ActionSucceeded {
		t.Errorf("start beside it: %+v", o)
	}
	if o := r.ask(mirror.Request{Type: mirror.RequestDelete, Kind: state.Volumes, Key: "volume0"}); o.State != state.ActionSucceeded {
		t.Errorf("deletion beside it: %+v", o)
	}
	if o := r.ask(mirror.Request{Type: mirror.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync beside it: %+v", o)
	}
}

// A request that is withdrawn while another is under way leaves no trace.
func TestWithdrawn(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(2, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	id := r.engine.IDs("containers")[1] // does not run
	r.engine.Hang()
	start := r.submit(mirror.Request{Type: mirror.RequestAction, Kind: state.Containers, Key: id, Action: "start", Reply: true})
	queued := func(n int) {
		for count := make(chan int); ; {
			r.do <- func() { go func(n int) { count <- n }(r.exec.Queued(id)) }
			if <-count == n {
				return
			}
		}
	}
	for n, what := range []string{"restart", "stop", "unpause"} {
		req := r.submit(action(id, what))
		queued(2 + n)
		if !mirror.Withdraw(r.requests(), req) {
			t.Errorf("%s can't be withdrawn", what)
		}
	}
	r.engine.Resume()
	if o := r.outcome(start); o.State != state.ActionSucceeded {
		t.Errorf("start: %+v", o)
	}
	queued(0)
	for call, n := range r.engine.Calls() {
		if strings.HasPrefix(call, "POST") && !strings.HasSuffix(call, "/start") {
			t.Errorf("the engine was asked %s, %d times", call, n)
		}
	}
	if o := r.ask(mirror.Request{Type: mirror.RequestSync}); o.State != state.ActionSucceeded { // all is written
		t.Errorf("sync: %+v", o)
	}
	s, err := state.Read(r.path)
	if err != nil {
		t.Fatal(err)
	}
	if last := s.Containers[id].LastAction; last == nil || last.Action != "start" {
		t.Errorf("last action is %+v", last)
	}
	r.noRequests()
}

// From any number of processes at once, also while the engine is down: none is lost,
// none is done twice.
func TestManyRequests(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	const n = 40
	r.engine.Populate(n, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	ids := r.engine.IDs("containers")
	r.engine.Hang()
	outcomes := make([]mirror.Outcome, 2*n)
	var asking, submitted sync.WaitGroup
	submitted.Add(2 * n)
	for i := range 2 * n {
		asking.Go(func() {
			q := action(ids[i/2], "restart")
			q.Reply = true
			id, err := mirror.Submit(r.requests(), q)
			submitted.Done()
			if err != nil {
				t.Error(err)
				return
			}
			outcomes[i] = r.outcome(id)
		})
	}
	submitted.Wait()
	r.engine.Resume()
	asking.Wait()
	for i, o := range outcomes {
		if o.State != state.ActionSucceeded {
			t.Errorf("outcome %d: %+v", i, o)
		}
	}
	if got := r.engine.Calls()["POST /containers/{id}/restart"]; got != 2*n {
		t.Errorf("the engine was asked to restart %d times, want %d", got, 2*n)
	}
	r.noRequests()
	r.awaitEqual()
}

// begun submits a request as a supervisor leaves it that began it and died.
func (r *rig) begun(q mirror.Request) string {
	r.t.Helper()
	q.Reply = true
	id := r.submit(q)
	path := filepath.Join(r.requests(), id)
	if err := os.Rename(path+".json", path+".begun"); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// What a supervisor may have sent and did not see the end of is never sent again. What it
// shows in the end is the outcome.
func TestSentBefore(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(4, 1, 0, 0)
	ids := r.engine.IDs("containers") // 0 and 2 run
	started := map[string]time.Time{}
	for _, id := range ids {
		r.engine.ChangeContainer(id, func(c *container.InspectResponse) {
			c.Config.StopTimeout = new(int)
			started[id], _ = time.Parse(time.RFC3339Nano, c.State.StartedAt)
		})
	}
	sent := func(id, what string, startedBefore time.Time) mirror.Request {
		q := action(id, what)
		q.Sent, q.StartedBefore = true, startedBefore
		return q
	}
	stopped := r.begun(sent(ids[1], "stop", time.Time{}))
	restarted := r.begun(sent(ids[0], "restart", started[ids[0]].Add(-time.Second)))
	late := r.begun(sent(ids[3], "start", time.Time{}))
	never := r.begun(sent(ids[2], "restart", started[ids[2]]))
	r.exec.SetPatience(patience)
	stop := r.start()
	for name, id := range map[string]string{"stop of what is stopped": stopped, "restart of what was started since": restarted} {
		if o := r.outcome(id); o.State != state.ActionSucceeded {
			t.Errorf("%s: %+v", name, o)
		}
	}
	r.engine.StartContainer(ids[3]) // the engine was still at it
	if o := r.outcome(late); o.State != state.ActionSucceeded {
		t.Errorf("start that took its time: %+v", o)
	}
	stop()
	r = r.again()
	r.exec.SetPatience(0)
	r.start()
	if o := r.outcome(never); o.State != state.ActionFailed || !strings.Contains(o.Error, "not known") {
		t.Errorf("restart that may have been done: %+v", o)
	}
	for call, n := range r.engine.Calls() {
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
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0]
	first, second := r.begun(action(id, "restart")), r.begun(action(id, "restart"))
	r.start()
	for _, req := range []string{first, second} {
		if o := r.outcome(req); o.State != state.ActionSucceeded {
			t.Errorf("restart: %+v", o)
		}
	}
	if n := r.engine.Calls()["POST /containers/{id}/restart"]; n != 2 {
		t.Errorf("the engine was asked to restart %d times, want 2", n)
	}
	r.noRequests()
}

// The supervisor dies while the engine is at an action: the next learns how it ended.
func TestSupervisorDiesAtAction(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0]
	stop := r.start()
	r.await("MirrorSynced", synced)
	r.engine.SetFaults(func(f *faults) { f.StopTakes = patience })
	req := r.submit(mirror.Request{Type: mirror.RequestAction, Kind: state.Containers, Key: id, Action: "stop", Reply: true})
	for r.engine.Calls()["POST /containers/{id}/stop"] == 0 {
		time.Sleep(time.Millisecond)
	}
	stop()
	next := r.again()
	next.exec.SetPatience(patience)
	next.start()
	r.engine.ExitContainer(id, 0)
	if o := next.outcome(req); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	if n := r.engine.Calls()["POST /containers/{id}/stop"]; n != 1 {
		t.Errorf("the engine was asked to stop it %d times", n)
	}
}

// The engine dies in the middle of an action, and another one does not have the container.
func TestEngineDiesAtAction(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0]
	r.start()
	r.await("MirrorSynced", synced)
	r.engine.SetFaults(func(f *faults) { f.StopTakes = patience })
	req := r.submit(mirror.Request{Type: mirror.RequestAction, Kind: state.Containers, Key: id, Action: "stop", Reply: true})
	for r.engine.Calls()["POST /containers/{id}/stop"] == 0 {
		time.Sleep(time.Millisecond)
	}
	_ = r.engine.Close()
	next, err := fakeengine.Start(filepath.Join(r.dir, "e.sock"))
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
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0]
	q := action(id, "restart")
	q.Reply = true
	req := r.submit(q)
	old := r.store
	old.Apply(mirror.Update{Changes: []mirror.Change{{Kind: state.Containers, Objects: []any{state.Container{
		ID: id, State: state.StateRunning, LastAction: &state.LastAction{Request: req, Action: "restart", State: state.ActionFailed, Error: "as it was"},
	}}}}})
	r.start()
	if o := r.outcome(req); o.Error != "as it was" {
		t.Errorf("outcome is %+v", o)
	}
	if n := r.engine.Calls()["POST /containers/{id}/restart"]; n != 0 {
		t.Errorf("the engine was asked %d times", n)
	}
}

func deletion(kind state.Kind, key, ref string) mirror.Request {
	return mirror.Request{Type: mirror.RequestDelete, Kind: kind, Key: key, Reference: ref, Reply: true}
}

func TestDeletionWaits(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	img := r.engine.CreateImage("app:1")
	user := r.engine.CreateContainer("user", "app:1")
	r.start()
	r.await("MirrorSynced", synced)
	id := r.submit(deletion(state.Images, img, "app:1"))
	s := r.await("why it is refused", func(s *state.State) bool { return s.Images[img].Deletions["app:1"].Error != "" })
	if d := s.Images[img].Deletions["app:1"]; d.Request != id || !strings.Contains(d.Error, user[:12]) || d.RequestedAt.IsZero() {
		t.Errorf("deletion is %+v, want it to name the container", d)
	}
	r.source.Wake() // what is recorded survives a full sync
	r.await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs > 1 })
	if s, err := state.Read(r.path); err != nil || s.Images[img].Deletions["app:1"].Request != id {
		t.Errorf("after a sync: %+v, %v", s.Images[img], err)
	}
	r.engine.RemoveContainer(user)
	if o := r.outcome(id); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.await("the image gone", func(s *state.State) bool { _, ok := s.Images[img]; return !ok })
	r.noRequests()
}

// What was to be deleted on one engine is not deleted on another that takes its place,
// though the image has the same id there.
func TestDeletionOfOtherEngine(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("images")[0]
	r.start()
	r.await("MirrorSynced", synced)
	req := r.submit(deletion(state.Images, id, ""))
	r.await("a refusal", func(s *state.State) bool { return s.Images[id].Deletions[id].Error != "" })
	r.engine.SetFacts(func(f *facts) { f.ID = "another" })
	r.engine.EndStreams()
	if o := r.outcome(req); o.State != state.ActionFailed || o.Error != "another engine is there now" {
		t.Errorf("outcome is %+v", o)
	}
	r.engine.RemoveContainer(r.engine.IDs("containers")[0])
	r.awaitEqual()
	if len(r.engine.IDs("images")) != 1 {
		t.Error("the other engine's image was deleted")
	}
}

func TestDeletionOfTag(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	img := r.engine.CreateImage("app:1", "app:2")
	r.start()
	r.await("MirrorSynced", synced)
	if o := r.ask(deletion(state.Images, img, "app:1")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.await("one tag left", func(s *state.State) bool { return fmt.Sprint(s.Images[img].RepoTags) == "[app:2]" })

	// A reference that is another image's by now is not what was meant.
	other := r.engine.CreateImage("app:2")
	if o := r.ask(deletion(state.Images, img, "app:2")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
	}
	r.await("the other image", func(s *state.State) bool { return fmt.Sprint(s.Images[other].RepoTags) == "[app:2]" })
	r.awaitEqual()
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
			r.engine.Add(fakeengine.Objects{Images: []fakeengine.ImageSpec{
				{Tags: []string{"app:1", "app:2"}}, {Tags: []string{"one:1"}, Digests: []string{"one@sha256:" + strings.Repeat("a", 64)}},
			}})
			r.start()
			s := r.await("MirrorSynced", synced)
			key := ""
			for id, i := range s.Images {
				if strings.HasPrefix(i.RepoTags[0], cmp.Or(test.reference, "one")[:3]) {
					key = id
				}
			}
			r.engine.SetFaults(func(f *faults) {
				f.Drop = func(events.Message) bool { return true }
				f.ListDelay = patience
			})
			if o := r.ask(deletion(state.Images, key, test.reference)); o.State != state.ActionSucceeded {
				t.Fatalf("outcome is %+v", o)
			}
			s, err := state.Read(r.path)
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
			r.engine.CreateVolume("v")
			r.engine.CreateImage("app:1")
			user := r.engine.CreateContainer("user", "app:1", "v")
			stop := r.start()
			s := r.await("MirrorSynced", synced)
			q := deletion(state.Volumes, "v", "")
			q.CreatedAt = s.Volumes["v"].CreatedAt
			id := r.submit(q)
			r.await("why it is refused", func(s *state.State) bool {
				return s.Volumes["v"].Deletion != nil && s.Volumes["v"].Deletion.Error != ""
			})
			if down {
				stop()
				// Nor does anybody hear of it later: that it was removed would be a proof.
				r.engine.SetFaults(func(f *faults) { f.Drop = func(events.Message) bool { return true } })
			}
			r.engine.SetFacts(func(f *facts) { f.ClockOffset = time.Hour }) // made later, to the second
			r.engine.RemoveVolume("v")
			r.engine.CreateVolume("v")
			r.engine.RemoveContainer(user)
			if down {
				r.engine.SetFaults(func(f *faults) { f.Drop = nil })
				next := r.again()
				next.start()
				r = next
			}
			o := r.outcome(id)
			if down && o.State != state.ActionFailed || !down && o.State != state.ActionSucceeded {
				t.Errorf("outcome is %+v", o)
			}
			r.await("the new volume", func(s *state.State) bool {
				v, ok := s.Volumes["v"]
				return ok && v.Deletion == nil && v.CreatedAt.After(q.CreatedAt)
			})
			r.awaitEqual()
			if n := len(r.engine.IDs("volumes")); n != 1 {
				t.Errorf("there are %d volumes", n)
			}
		})
	}
}

func TestDeletionCancelled(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0] // runs
	r.start()
	r.await("MirrorSynced", synced)
	first, second := r.submit(deletion(state.Containers, id, "")), r.submit(deletion(state.Containers, id, ""))
	r.await("why it is refused", func(s *state.State) bool {
		return s.Containers[id].Deletion != nil && s.Containers[id].Deletion.Error != ""
	})
	if o := r.ask(mirror.Request{Type: mirror.RequestCancel, Kind: state.Containers, Key: id}); o.State != state.ActionSucceeded {
		t.Errorf("cancel: %+v", o)
	}
	for _, req := range []string{first, second} {
		if o := r.outcome(req); o.State != mirror.OutcomeCancelled {
			t.Errorf("cancelled deletion: %+v", o)
		}
	}
	r.engine.ExitContainer(id, 0)
	s := r.await("it exited", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	if s.Containers[id].Deletion != nil {
		t.Errorf("deletion is still %+v", s.Containers[id].Deletion)
	}
	if o := r.ask(mirror.Request{Type: mirror.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync: %+v", o)
	}
	if len(r.engine.IDs("containers")) != 1 {
		t.Error("the container was deleted nevertheless")
	}
	r.noRequests()
}

func TestDeletionOfOwnNetwork(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	own, other := r.engine.CreateNetwork("bridge"), r.engine.CreateNetwork("nat")
	r.start()
	r.await("MirrorSynced", synced)
	if o := r.ask(deletion(state.Networks, own, "")); o.State != state.ActionFailed {
		t.Errorf("outcome is %+v", o)
	}
	if o := r.ask(deletion(state.Networks, other, "")); o.State != state.ActionSucceeded {
		t.Errorf("outcome is %+v", o)
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
		if got := mirror.OwnNetwork(test.engine, test.name); got != test.want {
			t.Errorf("OwnNetwork(%+v, %q) = %v", test.engine, test.name, got)
		}
	}
}

// Stopping the instance drops what is not decided, and who waits is told.
func TestDrop(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.IDs("containers")[0]
	stop := r.start()
	r.await("MirrorSynced", synced)
	req := r.submit(deletion(state.Containers, id, ""))
	r.await("the deletion", func(s *state.State) bool { return s.Containers[id].Deletion != nil })
	stop()
	if err := r.exec.Drop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := mirror.Await(ctx, r.requests(), req); !os.IsNotExist(err) && err == nil {
		t.Errorf("Await returned %v", err)
	}
	r.noRequests()
}

func TestBadRequestFiles(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	if err := os.MkdirAll(r.requests(), 0o700); err != nil {
		t.Fatal(err)
	}
	other, _ := json.Marshal(mirror.Request{ID: "other"})
	for name, content := range map[string]string{"empty.json": "", "torn.json": `{"id":"to`, "renamed.json": string(other), "list.json": "[]"} {
		if err := os.WriteFile(filepath.Join(r.requests(), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	if o := r.ask(mirror.Request{Type: mirror.RequestSync}); o.State != state.ActionSucceeded {
		t.Errorf("sync: %+v", o)
	}
	r.noRequests()
}

// Somebody clears up: requests come through all the same.
func TestRequestsRemoved(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.start()
	r.await("MirrorSynced", synced)
	for _, remove := range []func() error{
		func() error { return os.RemoveAll(r.requests()) },
		func() error { return os.Rename(r.requests(), r.requests()+".old") },
		func() error { return os.RemoveAll(r.requests()) },
	} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if o := r.ask(mirror.Request{Type: mirror.RequestSync}); o.State != state.ActionSucceeded {
			t.Errorf("sync: %+v", o)
		}
	}
}
