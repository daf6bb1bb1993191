package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// settle waits until the mirror has seen all, and returns what the store holds then.
func settle(r *mirrortest.Rig) *state.State {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	if err := r.Source.Settle(ctx); err != nil {
		r.T.Fatal(err)
	}
	held := make(chan *state.State)
	r.Do <- func() { held <- r.Store.Snapshot() }
	return <-held
}

// An object for which the engine hangs holds up others only once.
func TestSettleBesideHangingObject(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{InspectTimeout: 10 * mirrortest.Patience})
	r.Engine.Populate(3, 1, 0, 0)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	bad := r.Engine.IDs("containers")[0]
	calls := make(chan int, 10)
	var n atomic.Int64
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(w http.ResponseWriter, q *http.Request, path string) bool {
			if path != "/containers/"+bad+"/json" {
				return false
			}
			call := int(n.Add(1))
			calls <- call
			if call == 1 {
				w.WriteHeader(http.StatusInternalServerError)
			} else {
				<-q.Context().Done()
			}
			return true
		}
	})
	r.Source.Mark(state.Containers, bad)
	for <-calls < 2 {
	}
	id := r.Engine.CreateContainer("new", r.Engine.IDs("images")[0])
	if s := settle(r); s.Containers[id].Name != "new" {
		t.Errorf("the new container is missing: %+v", s.Containers[id])
	}
}

// Whatever was done in the engine before Settle is in the store afterwards, though the events
// come late.
func TestSettle(t *testing.T) {
	for name, of := range map[string]struct {
		facts func(*mirrortest.Facts)
		offs  time.Duration
	}{
		"docker":        {func(*mirrortest.Facts) {}, 0},
		"podman":        {func(f *mirrortest.Facts) { f.Podman = true }, 0},
		"another clock": {func(f *mirrortest.Facts) { f.ClockOffset = -time.Hour }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.SetFacts(of.facts)
			r.Engine.Populate(5, 2, 2, 1)
			r.Start()
			r.Await("MirrorSynced", mirrortest.Synced)
			r.AwaitStream()
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.EventDelay, f.InspectDelay, f.ListDelay = time.Second, 30*time.Millisecond, 30*time.Millisecond
			})
			img := r.Engine.IDs("images")[0]
			for n := range 5 {
				tag := fmt.Sprintf("new:%d", n)
				r.Engine.TagImage(img, tag)
				id := r.Engine.CreateContainer(fmt.Sprintf("c%d", n), tag)
				r.Engine.StartContainer(id)
				made := r.Engine.CreateImage(fmt.Sprintf("made:%d", n))
				r.Engine.CreateVolume(fmt.Sprintf("v%d", n))
				network := r.Engine.CreateNetwork(fmt.Sprintf("n%d", n))
				s := settle(r)
				if got := s.Images[img].RepoTags; len(got) != n+2 {
					t.Errorf("the tags are %v", got)
				}
				if c := s.Containers[id]; c.State != state.StateRunning {
					t.Errorf("the container is %+v", c)
				}
				if s.Images[made].Architecture == "" || s.Volumes[fmt.Sprintf("v%d", n)].Name == "" || s.Networks[network].Name == "" {
					t.Errorf("missing: image %+v, volumes %v, networks %v", s.Images[made], s.Volumes, s.Networks)
				}
				r.Engine.RemoveContainer(id)
				if s := settle(r); s.Containers[id].ID != "" {
					t.Errorf("the container is still there: %+v", s.Containers[id])
				}
			}
		})
	}
}

// A lookup that failed is waited for once more: an engine that is busy may not answer in time. One that
// always fails is not.
func TestSettleAfterFailure(t *testing.T) {
	for failures, want := range map[int32]string{1: state.StateRunning, 2: state.StateRunning, 99: state.StateCreated} {
		t.Run(fmt.Sprint(failures), func(t *testing.T) {
			t.Parallel()
			r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 2, 1, 1, 1)
			r.AwaitStream()
			id := r.Engine.CreateContainer("late", r.Engine.IDs("images")[0])
			if is := settle(r).Containers[id].State; is != state.StateCreated {
				t.Fatalf("the container is %q", is)
			}
			var failed atomic.Int32
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.InspectStatus = func(_, of string) int {
					if of != id || failed.Add(1) > failures {
						return 0
					}
					return http.StatusInternalServerError
				}
			})
			r.Engine.StartContainer(id)
			if is := settle(r).Containers[id].State; is != want {
				t.Errorf("the container is %q, want %q", is, want)
			}
		})
	}
}

// More happened than the engine remembers.
func TestSettleAfterMuch(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 20, 5, 5, 2)
	r.AwaitStream()
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.EventDelay = time.Second })
	r.Engine.CreateVolume("first")
	churn(r.Engine, 1000)
	if s := settle(r); s.Volumes["first"].Name == "" || len(s.Containers) != len(r.Engine.IDs("containers")) {
		t.Errorf("%d containers, volumes %v", len(s.Containers), s.Volumes)
	}
	r.AwaitEqual()
}

// An engine that hangs is not believed to be there for long: at once where somebody asks it,
// or else after some silence. Who wants to see what it does is told.
func TestSilence(t *testing.T) {
	disconnected := func(s *state.State) bool { return !s.Mirror.Connected && !mirrortest.Synced(s) }
	t.Run("noticed", func(t *testing.T) {
		r := mirrortest.NewSynced(t, mirror.SourceOptions{Silence: 100 * time.Millisecond, InspectTimeout: time.Second}, 2, 1, 1, 1)
		r.Engine.Hang()
		r.Await("Disconnected", disconnected)
		r.Engine.Resume()
		r.Await("MirrorSynced", mirrortest.Synced)
		r.AwaitEqual()
	})
	for _, doubt := range []bool{false, true} {
		t.Run(fmt.Sprintf("asked=%v", doubt), func(t *testing.T) {
			r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 2, 1, 1, 1)
			r.Engine.Hang()
			defer r.Engine.Resume()
			if doubt {
				r.Source.Doubt()
				r.Await("Disconnected", disconnected)
			}
			ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
			defer cancel()
			for range 3 {
				if err := r.Source.Settle(ctx); !errors.Is(err, mirror.ErrDisconnected) {
					t.Errorf("Settle returned %v", err)
				}
			}
			r.Await("Disconnected", disconnected)
		})
	}
}

// An idle mirror asks nothing, except whether the engine is there, and that seldom.
func TestSilenceOfIdleEngine(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{Silence: 50 * time.Millisecond})
	r.Engine.Populate(2, 1, 1, 1)
	r.Start()
	first := r.Await("MirrorSynced", mirrortest.Synced)
	pings := func() int {
		return r.Engine.Calls()["/_ping"] + r.Engine.Calls()["GET /_ping"] + r.Engine.Calls()["HEAD /_ping"]
	}
	for begin := pings(); pings() < begin+3; time.Sleep(time.Millisecond) {
	}
	if s, err := state.Read(r.Path); err != nil || s.Revision != first.Revision {
		t.Errorf("it was written: %v", err)
	}
}

// While the mirror is synced, an object in it is whole, also during a full sync: an exit code
// of 0 means success.
func TestSyncShowsWholeObjects(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 3, 2, 1, 1)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.InspectDelay = 20 * time.Millisecond })
	ctx, cancel := context.WithCancel(context.Background())
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		for s, err := range state.Follow(ctx, r.Path) {
			if err != nil || !mirrortest.Synced(s) {
				continue
			}
			for _, c := range s.Containers {
				half := c.State == state.StateExited && (c.FinishedAt.IsZero() || c.ExitCode == 0) || c.State == state.StateRunning && c.PID == 0
				if half || c.RestartPolicy.Name == "" {
					t.Errorf("a container is %+v", c)
				}
			}
			for _, i := range s.Images {
				if i.Architecture == "" {
					t.Errorf("an image is %+v", i)
				}
			}
		}
	}()
	ids := r.Engine.IDs("containers")
	for n := range 30 {
		for _, id := range ids {
			r.Engine.StartContainer(id)
		}
		r.Source.Wake()
		r.Engine.CreateImage(fmt.Sprintf("new:%d", n))
		r.Engine.CreateContainer(fmt.Sprintf("new%d", n), "image0:latest")
		for _, id := range ids {
			r.Engine.ExitContainer(id, 3)
		}
		time.Sleep(10 * time.Millisecond)
	}
	settle(r)
	cancel()
	<-looked
	r.AwaitEqual()
}

// What has no event of its own is found by a second look: here a start that fails.
func TestSecondLook(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 0, 1, 0, 0)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.StartFails = "no such program" })
	id := r.Engine.CreateContainer("c", "image0:latest")
	r.Await("the container", func(s *state.State) bool { return s.Containers[id].State == state.StateCreated })
	resp, err := post(r, "/containers/"+id+"/start")
	if err != nil || resp.StatusCode < 400 {
		t.Fatalf("the start did not fail: %v", err)
	}
	s := r.Await("why it failed", func(s *state.State) bool { return s.Containers[id].Error != "" })
	if c := s.Containers[id]; c.ExitCode == 0 {
		t.Errorf("the container is %+v", c)
	}
	r.AwaitEqual()
}

func post(r *mirrortest.Rig, path string) (*http.Response, error) {
	socket := r.Engine.Path()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return fakeengine.Dial(ctx, socket)
	}}}
	defer client.CloseIdleConnections()
	return client.Post("http://engine"+path, "application/json", nil)
}
