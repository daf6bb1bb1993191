package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestFirstSync(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(50, 10, 10, 3)
	r.start()
	s := r.await("MirrorSynced", synced)
	if s.Engine.ID != "fake-engine" || s.Engine.APIVersion == "" || !s.Mirror.Connected || s.Mirror.SyncedAt.IsZero() {
		t.Errorf("engine %+v, mirror %+v", s.Engine, s.Mirror)
	}
	if len(s.Containers) != 50 || len(s.Images) != 10 || len(s.Volumes) != 10 || len(s.Networks) != 3 {
		t.Errorf("got %d containers, %d images, %d volumes, %d networks", len(s.Containers), len(s.Images), len(s.Volumes), len(s.Networks))
	}
	if _, ok := s.Namespaces["moby"]; !ok {
		t.Error("no namespace moby")
	}
	r.awaitEqual()
}

func TestEvents(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(3, 2, 2, 1)
	r.start()
	r.await("MirrorSynced", synced)

	id := r.engine.CreateContainer("new", "image0:latest", "volume0")
	r.engine.StartContainer(id)
	r.await("the new container running", func(s *state.State) bool { return s.Containers[id].State == state.StateRunning })
	r.engine.ExitContainer(id, 3)
	s := r.await("it exited", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	if c := s.Containers[id]; c.ExitCode != 3 || c.FinishedAt.IsZero() || c.PID != 0 {
		t.Errorf("exited container is %+v", c)
	}
	r.engine.RemoveContainer(id)
	r.await("it gone", func(s *state.State) bool { _, ok := s.Containers[id]; return !ok })

	img := r.engine.IDs("images")
	r.engine.TagImage(img[1], "image0:latest") // moves: no event of the image it was on
	r.await("the tag moved", func(s *state.State) bool {
		return len(s.Images[img[0]].RepoTags) == 0 && len(s.Images[img[1]].RepoTags) == 2
	})
	r.engine.CreateVolume("v")
	r.engine.RemoveVolume("volume1")
	n := r.engine.CreateNetwork("a name/with everything ünder \"the sun\"")
	r.await("volumes and network", func(s *state.State) bool {
		_, old := s.Volumes["volume1"]
		return s.Volumes["v"].Name == "v" && !old && s.Networks[n].ID == n
	})
	r.awaitEqual()
}

// The first container of an image in containerd makes it grow, without an event.
func TestUnpacked(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.SetFacts(func(f *facts) { f.Snapshotter = true })
	r.engine.Populate(0, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	img := r.engine.IDs("images")[0]
	r.engine.UnpackImage(img)
	r.engine.CreateContainer("first", "image0:latest")
	r.awaitEqual()
}

// Whatever the engine does to its events and answers, nothing stays wrong for longer
// than one sync.
func TestMisbehaviour(t *testing.T) {
	second := func(n *int) bool { *n++; return *n%2 == 0 }
	tests := []struct {
		name   string
		faults func(*faults)
		needs  bool // a sync: no event tells
	}{
		{"nothing", func(*faults) {}, false},
		{"repeats", func(f *faults) { f.Repeat = true }, false},
		{"reorders", func(f *faults) { f.Reorder = true }, false},
		{"drops every second", func(f *faults) {
			n := 0
			f.Drop = func(events.Message) bool { return second(&n) }
		}, true},
		{"drops all", func(f *faults) { f.Drop = func(events.Message) bool { return true } }, true},
		{"slow lists", func(f *faults) { f.ListDelay = 300 * time.Millisecond }, false},
		{"slow inspections", func(f *faults) { f.InspectDelay = 50 * time.Millisecond }, false},
		{"failing inspections", func(f *faults) {
			n := 0
			f.InspectStatus = func(string, string) int {
				if n++; n%3 == 0 {
					return http.StatusInternalServerError
				}
				return 0
			}
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.engine.Populate(20, 5, 5, 2)
			var mu sync.Mutex // around what the faults count
			r.engine.SetFaults(func(f *faults) {
				tt.faults(f)
				if inner := f.InspectStatus; inner != nil {
					f.InspectStatus = func(kind, id string) int {
						mu.Lock()
						defer mu.Unlock()
						return inner(kind, id)
					}
				}
			})
			r.start()
			r.await("MirrorSynced", synced)
			churn(r.engine, 200)
			r.engine.Flush()
			r.engine.SetFaults(func(f *faults) { f.InspectStatus = nil }) // for the oracle
			if tt.needs {
				r.source.Wake()
			}
			r.awaitEqual()
		})
	}
}

// All of it at random, while the engine changes: one sync after the last fault the file
// equals the engine.
func TestAllMisbehaviour(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, mirror.SourceOptions{InspectTimeout: 200 * time.Millisecond, ListTimeout: 500 * time.Millisecond})
	r.engine.Populate(20, 5, 5, 2)
	r.start()
	some := func(most time.Duration) time.Duration { return max(0, time.Duration(rng.Int64N(2*int64(most)))-most) }
	// sometimes returns what is true one time in n, or never.
	sometimes := func() func() bool {
		n, calls := rng.Int64N(6), new(atomic.Int64)
		return func() bool { return n > 0 && calls.Add(1)%n == 0 }
	}
	for range 40 {
		drop, list, inspect := sometimes(), sometimes(), sometimes()
		r.engine.SetFaults(func(f *faults) {
			*f = faults{
				Repeat: rng.IntN(2) == 0, Reorder: rng.IntN(2) == 0,
				SubscribeDelay: some(100 * time.Millisecond), InfoDelay: some(100 * time.Millisecond),
				ListDelay: some(100 * time.Millisecond), InspectDelay: some(20 * time.Millisecond),
				Drop: func(events.Message) bool { return drop() },
				Answer: func(w http.ResponseWriter, q *http.Request, path string) bool {
					isList := slices.Contains([]string{"/containers/json", "/images/json", "/volumes", "/networks"}, path)
					switch {
					case isList && list():
						broken("Content-Length", "999", `[{"Id":"c0"},`)(w, q)
					case !isList && path != "/events" && inspect():
						withStatus(http.StatusInternalServerError, `{"message":"not now"}`)(w, q)
						return true
					}
					return false
				},
			}
		})
		churn(r.engine, rng.IntN(100))
		switch rng.IntN(6) {
		case 0:
			r.engine.EndStreams()
		case 1:
			r.engine.EmitText("?")
		case 2:
			r.engine.Hang()
			time.Sleep(some(300 * time.Millisecond))
			r.engine.Resume()
		case 3:
			r.source.Wake()
		}
		time.Sleep(some(100 * time.Millisecond))
	}
	r.engine.SetFaults(func(f *faults) { *f = faults{} })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.source.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	r.awaitEqual()
}

// churn changes the engine's objects in all ways, so many times.
func churn(e *fakeengine.Engine, n int) {
	for i := range n {
		containers, images, networks := e.IDs("containers"), e.IDs("images"), e.IDs("networks")
		some := func(ids []string) string { return ids[(i*7+3)%len(ids)] }
		switch i % 10 {
		case 0:
			e.CreateContainer(fmt.Sprintf("churn%d", i), "image0:latest")
		case 1, 2:
			e.StartContainer(some(containers))
		case 3:
			e.ExitContainer(some(containers), i)
		case 4:
			e.TagImage(some(images), fmt.Sprintf("moving:%d", i%3))
		case 5:
			e.CreateVolume(fmt.Sprintf("churn%d", i%4))
		case 6:
			e.RemoveVolume(fmt.Sprintf("churn%d", (i+1)%4))
		case 7:
			e.CreateNetwork(fmt.Sprintf("churn%d", i))
		case 8:
			if len(networks) > 1 {
				e.RemoveNetwork(some(networks))
			}
		case 9:
			if len(containers) > 5 {
				e.RemoveContainer(some(containers))
			}
		}
	}
}

// The headers of the stream come before the subscription, and the lists in between.
func TestSubscribesLate(t *testing.T) {
	for _, changes := range []int{100, 2000} { // as many as are replayed, and more
		t.Run(fmt.Sprint(changes), func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.engine.Populate(20, 5, 5, 2)
			r.engine.SetFaults(func(f *faults) { f.SubscribeDelay = 700 * time.Millisecond })
			r.start()
			r.await("MirrorSynced", synced)
			if n := r.engine.Streams(); n != 0 {
				t.Fatalf("%d streams are subscribed already", n)
			}
			churn(r.engine, changes)
			r.awaitEqual()
		})
	}
}

// A stream can end without an error. Then nothing is known any more, and it is not
// hidden.
func TestStreamEnds(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{MaxBackoff: 200 * time.Millisecond})
	r.engine.Populate(5, 2, 2, 1)
	r.start()
	first := r.await("MirrorSynced", synced)
	disconnected := make(chan struct{})
	go func() {
		defer close(disconnected)
		r.await("Disconnected", func(s *state.State) bool {
			c, _ := s.Condition(state.MirrorSynced)
			return c.Reason == state.ReasonDisconnected && !s.Mirror.Connected && c.Message != ""
		})
	}()
	r.engine.SetFaults(func(f *faults) { f.Drop = func(events.Message) bool { return true } })
	churn(r.engine, 50) // nobody tells
	r.engine.SetFaults(func(f *faults) { *f = faults{ListDelay: 100 * time.Millisecond} })
	r.engine.EndStreams()
	<-disconnected
	r.await("another sync", func(s *state.State) bool { return synced(s) && s.Mirror.Resyncs > first.Mirror.Resyncs })
	r.awaitEqual()
}

// The engine goes away and comes back with other objects.
func TestEngineRestarts(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(5, 2, 2, 1)
	r.start()
	r.await("MirrorSynced", synced)
	if err := r.engine.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.await("Disconnected", func(s *state.State) bool { return !synced(s) })
	if len(s.Containers) != 5 {
		t.Errorf("%d containers are left while the engine is away, want 5", len(s.Containers))
	}
	// However often it is tried: it is one change.
	before := s.Revision
	engine, err := fakeengine.Start(strings.TrimPrefix(r.engine.Host(), "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	engine.Populate(3, 3, 3, 3)
	engine.SetFacts(func(f *facts) { f.ID = "another" })
	s = r.await("MirrorSynced", synced)
	if s.Engine.ID != "another" || s.Revision-before > 20 {
		t.Errorf("engine %q after %d writes", s.Engine.ID, s.Revision-before)
	}
	r.engine = engine
	r.awaitEqual()
}

// An engine that is away for a night does not fill the log.
func TestAwayIsLoggedOnce(t *testing.T) {
	var log lines
	var connects atomic.Int64
	opts := mirror.SourceOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}
	dir := shortDir(t)
	opts.Connect = func(ctx context.Context) (*endpoint.Client, error) {
		connects.Add(1)
		return connectTo("unix://" + dir + "/none.sock")(ctx)
	}
	r := newRigOf(t, dir, dir+"/none.sock", opts)
	stop := r.start()
	for end := time.Now().Add(patience); connects.Load() < 10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not tried again")
		}
	}
	stop()
	if text := log.take(); strings.Count(text, "\n") != 1 {
		t.Errorf("the log is\n%s", text)
	}
}

// One object that can't be inspected does not hide the others.
func TestUninspectable(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusNotFound} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.engine.Populate(10, 0, 0, 0)
			bad := r.engine.IDs("containers")[4]
			r.engine.SetFaults(func(f *faults) {
				f.InspectStatus = func(_, id string) int {
					if id == bad {
						return status
					}
					return 0
				}
			})
			r.start()
			s := r.await("MirrorSynced", synced)
			c, _ := s.Condition(state.MirrorSynced)
			_, there := s.Containers[bad]
			if broken := status != http.StatusNotFound; there != broken || (c.Message != "") != broken {
				t.Errorf("object is there: %v; message %q", there, c.Message)
			}
			if len(s.Containers) < 9 {
				t.Errorf("%d containers, want the 9 others", len(s.Containers))
			}
			r.engine.SetFaults(func(f *faults) { *f = faults{} })
			r.source.Wake()
			r.awaitEqual()
		})
	}
}

// Podman's identity is another at each call: no reason for a sync.
func TestPodmanIdentity(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.SetFacts(func(f *facts) { f.Podman = true })
	r.engine.Populate(2, 1, 1, 1)
	r.start()
	r.await("MirrorSynced", synced)
	r.engine.CreateVolume("v")
	s := r.await("a volume", func(s *state.State) bool { return len(s.Volumes) == 2 })
	if s.Engine.ID != "" || s.Mirror.Resyncs != 1 {
		t.Errorf("engine id %q, %d syncs", s.Engine.ID, s.Mirror.Resyncs)
	}
}

func TestClockJump(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			r := newRig(t, mirror.SourceOptions{})
			r.engine.Populate(2, 1, 1, 1)
			r.start()
			r.await("MirrorSynced", synced)
			r.awaitStream()
			r.engine.SetFacts(func(f *facts) { f.ClockOffset = jump })
			r.engine.SetFaults(func(f *faults) { f.Drop = func(events.Message) bool { return true } })
			r.engine.CreateVolume("unseen")
			r.engine.SetFaults(func(f *faults) { *f = faults{} })
			r.engine.CreateVolume("v")
			r.await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs == 2 })
			r.awaitEqual()
		})
	}
}

// What no event tells of is found by the timer.
func TestResync(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{Resync: 300 * time.Millisecond})
	r.engine.Populate(2, 1, 1, 1)
	r.engine.SetFaults(func(f *faults) { f.Drop = func(events.Message) bool { return true } })
	r.start()
	r.await("MirrorSynced", synced)
	for range 2 {
		churn(r.engine, 50)
		r.awaitEqual()
	}
}

// An engine that accepts and never answers is noticed, and so is its recovery.
func TestEngineHangs(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{InspectTimeout: 100 * time.Millisecond, ListTimeout: 100 * time.Millisecond})
	r.engine.Populate(2, 1, 1, 1)
	r.engine.Hang()
	r.start()
	r.await("Disconnected", func(s *state.State) bool {
		c, _ := s.Condition(state.MirrorSynced)
		return c.Reason == state.ReasonDisconnected
	})
	r.engine.Resume()
	r.await("MirrorSynced", synced)
	r.awaitEqual()
}

// Nothing changed, nothing written; no request to the engine either.
func TestIdle(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(20, 5, 5, 2)
	r.start()
	before := r.await("MirrorSynced", synced)
	calls := total(r.engine.Calls())
	id := r.engine.IDs("containers")[0]
	for _, noise := range []events.Action{"exec_create: sh", "exec_start: sh", "exec_die", "attach", "top", "resize"} {
		r.engine.ChangeContainer(id, func(*container.InspectResponse) {}, noise)
	}
	// A change behind them, so that they have been seen.
	r.engine.CreateVolume("v")
	after := r.await("the volume", func(s *state.State) bool { return len(s.Volumes) == 6 })
	if n := after.Revision - before.Revision; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if n := total(r.engine.Calls()) - calls; n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if n := after.Mirror.Events; n != 7 {
		t.Errorf("%d events, want 7", n)
	}
	c, _ := after.Condition(state.MirrorSynced)
	if old, _ := before.Condition(state.MirrorSynced); c != old {
		t.Errorf("condition went from %+v to %+v", old, c)
	}
}

func total(calls map[string]int) (n int) {
	for _, c := range calls {
		n += c
	}
	return n
}

// A sync on request begins after the request, and its last update has been received
// when it returns.
func TestSync(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(5, 2, 2, 1)
	r.engine.SetFaults(func(f *faults) { f.Drop = func(events.Message) bool { return true } })
	r.start()
	r.await("MirrorSynced", synced)
	var syncs sync.WaitGroup
	for i := range 5 {
		r.engine.CreateVolume(fmt.Sprintf("v%d", i))
		syncs.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := r.source.Sync(ctx); err != nil {
				t.Error(err)
				return
			}
			has := make(chan bool)
			r.do <- func() { has <- r.store.Has(state.Volumes, fmt.Sprintf("v%d", i)) }
			if !<-has {
				t.Errorf("volume v%d is missing after the sync", i)
			}
		})
	}
	syncs.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.engine.Hang()
	if err := r.source.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled sync returned %v", err)
	}
}

// A full sync that finds nothing new changes no object, also where the list and the
// inspection of one do not say quite the same.
func TestSyncOfNothingNew(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(4, 2, 2, 2)
	r.start()
	r.await("MirrorSynced", synced)
	anonymous := strings.Repeat("0123456789abcdef", 4)
	r.engine.CreateVolume(anonymous)
	r.engine.StartContainer(r.engine.CreateContainer("c", "image0:latest", anonymous, "volume0"))
	churn(r.engine, 50)
	r.awaitEqual()
	before := r.await("it at rest", synced)
	for n := range uint64(2) {
		r.source.Wake()
		after := r.await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs > before.Mirror.Resyncs+n })
		for _, c := range state.Changes(before, after) {
			t.Errorf("%s %s %s: %s", c.Type, c.Kind, c.ID, marshal(t, c.Object))
		}
	}
	r.awaitEqual()
}

// A network is what the list says it is: of a swarm's, the inspection may tell of this
// node.
func TestNetworksAreListed(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 1, 3)
	r.start()
	r.await("MirrorSynced", synced)
	r.engine.RemoveNetwork(r.engine.CreateNetwork("short"))
	n := r.engine.CreateNetwork("long")
	r.await("the networks", func(s *state.State) bool { return len(s.Networks) == 4 && s.Networks[n].Name == "long" })
	if n := r.engine.Calls()["GET /networks/{id}"]; n > 0 {
		t.Errorf("networks were inspected %d times", n)
	}
	r.awaitEqual()
}

// A storm of 100,000 events ends equal.
func TestStorm(t *testing.T) {
	const many, workers = 100_000, 2
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(200, 20, 20, 5)
	r.start()
	r.await("MirrorSynced", synced)
	ids := r.engine.IDs("containers")
	var storm sync.WaitGroup
	for w := range workers {
		storm.Go(func() {
			for i := range many / workers {
				id := ids[(i*workers+w)%len(ids)]
				if i%50 == 0 { // the others only say that there might be something
					r.engine.ChangeContainer(id, func(c *container.InspectResponse) { c.RestartCount++ })
				}
				r.engine.Emit(events.ContainerEventType, events.ActionUpdate, id, map[string]string{"image": "image", "name": "name"})
			}
		})
	}
	storm.Wait()
	r.awaitEqual()
}

// A full sync ends also while more events come than can be looked up.
func TestSyncUnderStorm(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{Parallel: 1})
	r.engine.Populate(60, 1, 0, 0)
	r.engine.SetFaults(func(f *faults) { f.InspectDelay = time.Millisecond })
	busy := r.engine.IDs("containers")[:30]
	ctx, cancel := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	storm.Go(func() {
		for ctx.Err() == nil {
			for _, id := range busy {
				r.engine.Emit(events.ContainerEventType, events.ActionUpdate, id, nil)
			}
			time.Sleep(time.Millisecond)
		}
	})
	r.start()
	r.await("MirrorSynced", synced)
	cancel()
	storm.Wait()
	r.awaitEqual()
}

// The engine tells nobody when it gives up restarting a container.
func TestRestartGivenUp(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	r.start()
	r.await("MirrorSynced", synced)
	id := r.engine.IDs("containers")[0]
	become := func(s container.ContainerState) func(*container.InspectResponse) {
		return func(c *container.InspectResponse) { c.State.Status = s }
	}
	r.engine.ChangeContainer(id, become(container.StateRestarting), events.ActionDie)
	r.await("the restart", func(s *state.State) bool { return s.Containers[id].State == state.StateRestarting })
	r.engine.ChangeContainer(id, become(container.StateExited))
	r.await("its end", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	r.awaitEqual()
}

// Nor when a start fails for which it has connected the container already.
func TestStartGivenUp(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 0, 0)
	id := r.engine.CreateContainer("c", "image0:latest")
	r.start()
	r.await("MirrorSynced", synced)
	address := func(ip string) func(*container.InspectResponse) {
		return func(c *container.InspectResponse) {
			c.NetworkSettings.Networks = map[string]*network.EndpointSettings{"bridge": {}}
			if ip != "" {
				c.NetworkSettings.Networks["bridge"].IPAddress = netip.MustParseAddr(ip)
			}
		}
	}
	addressed := func(s *state.State) bool {
		n := s.Containers[id].Networks
		return len(n) == 1 && n[0].IPAddress != ""
	}
	r.engine.ChangeContainer(id, address("172.17.0.3"), events.ActionUpdate)
	r.await("its address", addressed)
	r.engine.ChangeContainer(id, address(""))
	r.await("no address", func(s *state.State) bool { return !addressed(s) })
	r.awaitEqual()
}

// Podman answers "<nil>" for the gateway that an internal network lacks.
func TestNilGateway(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	r.engine.Populate(1, 1, 1, 2)
	r.engine.SetFacts(func(f *facts) { f.Podman = true })
	r.engine.SetFaults(func(f *faults) { f.NilGateway = true })
	r.start()
	r.await("MirrorSynced", synced)
	r.awaitEqual()
}

// Synced means all objects, also those that an event has told of during the sync and that
// the list was therefore not believed.
func TestSyncedMeansAll(t *testing.T) {
	r := newRig(t, mirror.SourceOptions{})
	id := r.engine.CreateNetwork("n")
	r.engine.CreateVolume("v")
	r.engine.SetFaults(func(f *faults) { f.ListDelay, f.InspectDelay = 300*time.Millisecond, 700*time.Millisecond })
	r.start()
	for end := time.Now().Add(patience); r.engine.Streams() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	r.engine.Emit(events.NetworkEventType, events.ActionCreate, id, nil)
	r.engine.Emit(events.VolumeEventType, events.ActionMount, "v", nil)
	s := r.await("MirrorSynced", synced)
	if s.Networks[id].Name != "n" || s.Volumes["v"].Name != "v" {
		t.Errorf("synced without what is there: networks %v, volumes %v", s.Networks, s.Volumes)
	}
	r.awaitEqual()
}
