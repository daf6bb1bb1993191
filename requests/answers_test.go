package requests_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// Whoever asks for the first try of a deletion hears at once that it was refused and goes on,
// and nobody hears it twice, also from the next supervisor.
func TestFirstTry(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0] // runs
	stop := r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	q := deletion(state.Containers, id, "")
	q.First = true
	for range 2 { // the second asks for the same
		req := r.submit(q)
		if o := r.outcome(req); o.State != requests.OutcomeRefused || o.Error == "" {
			t.Fatalf("outcome is %+v", o)
		}
		s, err := state.Read(r.Path)
		if err != nil || len(s.Deletions()) != 1 {
			t.Fatalf("the deletions in the file are %v, %v", s.Deletions(), err)
		}
	}
	stop()
	next := r.again()
	stop = next.Start()
	defer stop()
	tried := r.Engine.Calls()["DELETE /containers/{id}"]
	mirrortest.Until(t, "the next supervisor does not try again", func() bool { return r.Engine.Calls()["DELETE /containers/{id}"] != tried })
	r.Engine.ExitContainer(id, 0)
	next.Await("the container gone", func(s *state.State) bool { return len(s.Containers) == 0 })
	if told, _ := filepath.Glob(filepath.Join(r.RequestsDir(), "*.done")); len(told) > 0 {
		t.Errorf("told again: %v", told)
	}
	next.noRequests()
}

// While the engine is away nobody waits for the first try, or to see what it does.
func TestAskedWhileAway(t *testing.T) {
	r := newSynced(t, 1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	_ = r.Engine.Close()
	first := deletion(state.Containers, id, "")
	first.First = true
	before := r.submit(first)
	r.Await("Disconnected", func(s *state.State) bool { return !s.Mirror.Connected })
	for _, req := range []string{before, r.submit(first)} {
		if o := r.outcome(req); o.State != requests.OutcomeRefused || o.Error != mirror.ErrDisconnected.Error() {
			t.Errorf("outcome is %+v", o)
		}
	}
	if o := r.ask(requests.Request{Type: requests.RequestSettle}); o.State != requests.OutcomeDisconnected {
		t.Errorf("outcome is %+v", o)
	}
}

// What was done in the engine before a settle was asked for is in the file when it is answered.
func TestSettleRequest(t *testing.T) {
	r := newSynced(t, 1, 1, 0, 0)
	r.AwaitStream()
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.EventDelay = mirrortest.Patience })
	r.Engine.CreateVolume("v")
	if o := r.ask(requests.Request{Type: requests.RequestSettle}); o.State != state.ActionSucceeded {
		t.Fatalf("outcome is %+v", o)
	}
	s, err := state.Read(r.Path)
	if err != nil || s.Volumes["v"].Name != "v" {
		content, _ := files.Read(r.Path)
		t.Errorf("the volume is not in the file (%v): %s", err, strings.ToValidUTF8(string(content), "?"))
	}
}
