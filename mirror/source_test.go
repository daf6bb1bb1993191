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

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestFirstSync(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(50, 10, 10, 3)
	r.Start()
	s := r.Await("MirrorSynced", mirrortest.Synced)
	if s.Engine.ID != "fake-engine" || s.Engine.APIVersion == "" || !s.Mirror.Connected || s.Mirror.SyncedAt.IsZero() {
		t.Errorf("engine %+v, mirror %+v", s.Engine, s.Mirror)
	}
	if len(s.Containers) != 50 || len(s.Images) != 10 || len(s.Volumes) != 10 || len(s.Networks) != 3 {
		t.Errorf("got %d containers, %d images, %d volumes, %d networks", len(s.Containers), len(s.Images), len(s.Volumes), len(s.Networks))
	}
	if _, ok := s.Namespaces["moby"]; !ok {
		t.Error("no namespace moby")
	}
	r.AwaitEqual()
}

func TestEvents(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 3, 2, 2, 1)

	id := r.Engine.CreateContainer("new", "image0:latest", "volume0")
	r.Engine.StartContainer(id)
	r.Await("the new container running", func(s *state.State) bool { return s.Containers[id].State == state.StateRunning })
	r.Engine.ExitContainer(id, 3)
	s := r.Await("it exited", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	if c := s.Containers[id]; c.ExitCode != 3 || c.FinishedAt.IsZero() || c.PID != 0 {
		t.Errorf("exited container is %+v", c)
	}
	r.Engine.RemoveContainer(id)
	r.Await("it gone", func(s *state.State) bool { _, ok := s.Containers[id]; return !ok })

	img := r.Engine.IDs("images")
	r.Engine.TagImage(img[1], "image0:latest") // moves: no event of the image it was on
	r.Await("the tag moved", func(s *state.State) bool {
		return len(s.Images[img[0]].RepoTags) == 0 && len(s.Images[img[1]].RepoTags) == 2
	})
	r.Engine.CreateVolume("v")
	r.Engine.RemoveVolume("volume1")
	n := r.Engine.CreateNetwork("a name/with everything ünder \"the sun\"")
	r.Await("volumes and network", func(s *state.State) bool {
		_, old := s.Volumes["volume1"]
		return s.Volumes["v"].Name == "v" && !old && s.Networks[n].ID == n
	})
	r.AwaitEqual()
}

// What health checks say is seen though only a change of the health has an event of its own.
func TestHealthChecks(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	r.Engine.ChangeContainer(id, func(c *container.InspectResponse) {
		c.State.Health = &container.Health{Status: container.Healthy}
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)

	probe := func(exitCode, streak int, output string) {
		r.Engine.ProbeContainer(id, exitCode, func(h *container.Health) {
			h.FailingStreak = streak
			h.Log = append(h.Log, &container.HealthcheckResult{ExitCode: exitCode, Output: output})
		})
	}
	await := func(want state.HealthCheck) {
		t.Helper()
		r.Await(fmt.Sprintf("the check %+v", want), func(s *state.State) bool {
			c := s.Containers[id].HealthCheck
			return c != nil && *c == want
		})
	}
	probe(1, 1, "refused")
	await(state.HealthCheck{FailingStreak: 1, LastOutput: "refused"})
	probe(2, 2, "no route")
	await(state.HealthCheck{FailingStreak: 2, LastOutput: "no route"})
	probe(0, 0, "fine")
	await(state.HealthCheck{})
	r.AwaitEqual()
}

// The first container of an image in containerd makes it grow, without an event.
func TestUnpacked(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.Snapshotter = true })
	r.Engine.Populate(0, 1, 0, 0)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	img := r.Engine.IDs("images")[0]
	r.Engine.UnpackImage(img)
	r.Engine.CreateContainer("first", "image0:latest")
	r.AwaitEqual()
}

// Whatever the engine does to its events and answers, nothing stays wrong for longer
// than one sync.
func TestMisbehaviour(t *testing.T) {
	second := func(n *int) bool { *n++; return *n%2 == 0 }
	tests := []struct {
		name   string
		faults func(*mirrortest.Faults)
		needs  bool // a sync: no event tells
	}{
		{"nothing", func(*mirrortest.Faults) {}, false},
		{"repeats", func(f *mirrortest.Faults) { f.Repeat = true }, false},
		{"reorders", func(f *mirrortest.Faults) { f.Reorder = true }, false},
		{"drops every second", func(f *mirrortest.Faults) {
			n := 0
			f.Drop = func(events.Message) bool { return second(&n) }
		}, true},
		{"drops all", func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } }, true},
		{"slow lists", func(f *mirrortest.Faults) { f.ListDelay = 300 * time.Millisecond }, false},
		{"slow inspections", func(f *mirrortest.Faults) { f.InspectDelay = 50 * time.Millisecond }, false},
		{"failing inspections", func(f *mirrortest.Faults) {
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
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.Populate(20, 5, 5, 2)
			var mu sync.Mutex // around what the faults count
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				tt.faults(f)
				if inner := f.InspectStatus; inner != nil {
					f.InspectStatus = func(kind, id string) int {
						mu.Lock()
						defer mu.Unlock()
						return inner(kind, id)
					}
				}
			})
			r.Start()
			r.Await("MirrorSynced", mirrortest.Synced)
			churn(r.Engine, 200)
			r.Engine.Flush()
			r.Engine.SetFaults(func(f *mirrortest.Faults) { f.InspectStatus = nil }) // for the oracle
			if tt.needs {
				r.Source.Wake()
			}
			r.AwaitEqual()
		})
	}
}

// All of it at random, while the engine changes: one sync after the last fault the file
// equals the engine.
func TestAllMisbehaviour(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := mirrortest.New(t, mirror.SourceOptions{InspectTimeout: 200 * time.Millisecond, ListTimeout: 500 * time.Millisecond})
	r.Engine.Populate(20, 5, 5, 2)
	r.Start()
	some := func(most time.Duration) time.Duration { return max(0, time.Duration(rng.Int64N(2*int64(most)))-most) }
	// sometimes returns what is true one time in n, or never.
	sometimes := func() func() bool {
		n, calls := rng.Int64N(6), new(atomic.Int64)
		return func() bool { return n > 0 && calls.Add(1)%n == 0 }
	}
	for range 40 {
		drop, list, inspect := sometimes(), sometimes(), sometimes()
		r.Engine.SetFaults(func(f *mirrortest.Faults) {
			*f = mirrortest.Faults{
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
		churn(r.Engine, rng.IntN(100))
		switch rng.IntN(6) {
		case 0:
			r.Engine.EndStreams()
		case 1:
			r.Engine.EmitText("?")
		case 2:
			r.Engine.Hang()
			time.Sleep(some(300 * time.Millisecond))
			r.Engine.Resume()
		case 3:
			r.Source.Wake()
		}
		time.Sleep(some(100 * time.Millisecond))
	}
	r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
	ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
	defer cancel()
	if err := r.Source.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	r.AwaitEqual()
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
			for delay := 700 * time.Millisecond; ; delay *= 4 {
				r := mirrortest.New(t, mirror.SourceOptions{})
				r.Engine.Populate(20, 5, 5, 2)
				r.Engine.SetFaults(func(f *mirrortest.Faults) { f.SubscribeDelay = delay })
				stop := r.Start()
				r.Await("MirrorSynced", mirrortest.Synced)
				if r.Engine.Streams() == 0 {
					churn(r.Engine, changes)
					r.AwaitEqual()
					return
				}
				stop() // the machine is too busy: once more
			}
		})
	}
}

// A stream can end without an error. Then nothing is known any more, and it is not
// hidden.
func TestStreamEnds(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{MaxBackoff: 200 * time.Millisecond})
	r.Engine.Populate(5, 2, 2, 1)
	r.Start()
	first := r.Await("MirrorSynced", mirrortest.Synced)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } })
	churn(r.Engine, 50) // nobody tells
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		*f = mirrortest.Faults{Answer: func(w http.ResponseWriter, _ *http.Request, _ string) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}}
	})
	r.Engine.EndStreams()
	r.Await("Disconnected", func(s *state.State) bool {
		c, _ := s.Condition(state.MirrorSynced)
		return c.Reason == state.ReasonDisconnected && !s.Mirror.Connected && c.Message != ""
	})
	r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
	r.Await("another sync", func(s *state.State) bool { return mirrortest.Synced(s) && s.Mirror.Resyncs > first.Mirror.Resyncs })
	r.AwaitEqual()
}

// The engine goes away and comes back with other objects.
func TestEngineRestarts(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 5, 2, 2, 1)
	if err := r.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.Await("Disconnected", func(s *state.State) bool { return !mirrortest.Synced(s) })
	if len(s.Containers) != 5 {
		t.Errorf("%d containers are left while the engine is away, want 5", len(s.Containers))
	}
	// However often it is tried: it is one change.
	before := s.Revision
	engine, err := fakeengine.Start(r.Engine.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	engine.Populate(3, 3, 3, 3)
	engine.SetFacts(func(f *mirrortest.Facts) { f.ID = "another" })
	s = r.Await("MirrorSynced", mirrortest.Synced)
	if s.Engine.ID != "another" || s.Revision-before > 20 {
		t.Errorf("engine %q after %d writes", s.Engine.ID, s.Revision-before)
	}
	r.Engine = engine
	r.AwaitEqual()
}

// An engine that is away for a night does not fill the log.
func TestAwayIsLoggedOnce(t *testing.T) {
	var log mirrortest.Lines
	var connects atomic.Int64
	opts := mirror.SourceOptions{Log: slog.New(slog.NewTextHandler(&log, nil))}
	dir := mirrortest.ShortDir(t)
	opts.Connect = func() (mirror.Engine, error) {
		connects.Add(1)
		return mirrortest.ConnectTo("unix://" + dir + "/none.sock")()
	}
	r := mirrortest.NewOf(t, dir, dir+"/none.sock", opts)
	stop := r.Start()
	mirrortest.Until(t, "it is not tried again", func() bool { return connects.Load() >= 10 })
	stop()
	if text := log.Take(); strings.Count(text, "\n") != 1 {
		t.Errorf("the log is\n%s", text)
	}
}

// lastly calls a function before it closes the connection to an engine.
type lastly struct {
	mirror.Engine
	before func()
}

func (c lastly) Close() error {
	c.before()
	return c.Engine.Close()
}

// The connection is closed after all calls have ended: what is idle only then would stay open.
func TestClosedAtTheEnd(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	var open atomic.Bool
	r.Options.Connect = func() (mirror.Engine, error) {
		e, err := mirrortest.ConnectTo(r.Engine.Host())()
		return lastly{e, func() { open.Store(!endpointtest.Eventually(func() bool { return r.Engine.Streams() == 0 })) }}, err
	}
	r = r.Again()
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	r.Source.Wake()
	r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs == 2 })
	if open.Load() {
		t.Error("the event stream was open")
	}
}

// Nor does one whose lists all fail, each first at times.
func TestUnlistableIsLoggedOnce(t *testing.T) {
	var log mirrortest.Lines
	var tries atomic.Int64
	r := mirrortest.New(t, mirror.SourceOptions{Log: slog.New(slog.NewTextHandler(&log, nil)), MaxBackoff: time.Millisecond})
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(_ http.ResponseWriter, q *http.Request, path string) bool {
			switch path {
			case "/info":
				tries.Add(1)
			case "/containers/json", "/images/json", "/volumes", "/networks":
				time.Sleep(rand.N(2 * time.Millisecond))
				panic(http.ErrAbortHandler)
			}
			return false
		}
	})
	stop := r.Start()
	mirrortest.Until(t, "it is not tried again", func() bool { return tries.Load() >= 20 })
	stop()
	if text := log.Take(); strings.Count(text, "lost the engine's events") != 1 {
		t.Errorf("the log is\n%s", text)
	}
}

// One object that can't be inspected does not hide the others.
func TestUninspectable(t *testing.T) {
	for _, status := range []int{http.StatusInternalServerError, http.StatusNotFound} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.Populate(10, 0, 0, 0)
			bad := r.Engine.IDs("containers")[4]
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.InspectStatus = func(_, id string) int {
					if id == bad {
						return status
					}
					return 0
				}
			})
			r.Start()
			s := r.Await("MirrorSynced", mirrortest.Synced)
			c, _ := s.Condition(state.MirrorSynced)
			_, there := s.Containers[bad]
			if broken := status != http.StatusNotFound; there != broken || (c.Message != "") != broken {
				t.Errorf("object is there: %v; message %q", there, c.Message)
			}
			if len(s.Containers) < 9 {
				t.Errorf("%d containers, want the 9 others", len(s.Containers))
			}
			r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
			r.Source.Wake()
			r.AwaitEqual()
		})
	}
}

// Podman's identity is another at each call: no reason for a sync.
func TestPodmanIdentity(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.Podman = true })
	r.Engine.Populate(2, 1, 1, 1)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	r.Engine.CreateVolume("v")
	s := r.Await("a volume", func(s *state.State) bool { return len(s.Volumes) == 2 })
	if s.Engine.ID != "" || s.Mirror.Resyncs != 1 {
		t.Errorf("engine id %q, %d syncs", s.Engine.ID, s.Mirror.Resyncs)
	}
}

// Some builds have no event: their images show by the containers that they are used for.
func TestImageWithoutEvent(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Drop = func(m events.Message) bool { return m.Type == events.ImageEventType }
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	id := r.Engine.CreateImage("built:1")
	r.Engine.CreateContainer("one", "built:1")
	s := r.Await("the image", func(s *state.State) bool { return s.Images[id].ID == id })
	if s.Mirror.Resyncs != 1 {
		t.Errorf("%d full syncs", s.Mirror.Resyncs)
	}
	lists := r.Engine.Calls()["GET /images/json"]
	gone := r.Engine.CreateContainer("two", "missing:1")
	for range 2 {
		r.Engine.StartContainer(gone)
		r.Await("a container that runs", func(s *state.State) bool { return s.Containers[gone].State == state.StateRunning })
		r.Engine.ExitContainer(gone, 0)
		r.Await("its end", func(s *state.State) bool { return s.Containers[gone].State == state.StateExited })
	}
	if got := r.Engine.Calls()["GET /images/json"] - lists; got > 1 {
		t.Errorf("images are listed %d times for one that does not exist", got)
	}
}

// Podman has events of networks from version 5 on. Before, they are looked at every few seconds,
// without a full sync.
func TestPodmanNetworks(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.Podman, f.Version = true, "4.3.1" })
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Drop = func(m events.Message) bool { return m.Type == events.NetworkEventType }
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	id := r.Engine.CreateNetwork("n")
	r.Await("the network", func(s *state.State) bool { return s.Networks[id].Name == "n" })
	r.Engine.RemoveNetwork(id)
	s := r.Await("its removal", func(s *state.State) bool { return s.Networks[id].Name == "" })
	if s.Mirror.Resyncs != 1 {
		t.Errorf("%d full syncs", s.Mirror.Resyncs)
	}
}

func TestClockJump(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 2, 1, 1, 1)
			r.AwaitStream()
			r.Engine.SetFacts(func(f *mirrortest.Facts) { f.ClockOffset = jump })
			r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } })
			r.Engine.CreateVolume("unseen")
			r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
			r.Engine.CreateVolume("v")
			r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs == 2 })
			r.AwaitEqual()
		})
	}
}

// What no event tells of is found by the timer.
func TestResync(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{Resync: 300 * time.Millisecond})
	r.Engine.Populate(2, 1, 1, 1)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } })
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	for range 2 {
		churn(r.Engine, 50)
		r.AwaitEqual()
	}
}

// An engine that accepts and never answers is noticed, and so is its recovery.
func TestEngineHangs(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{InspectTimeout: 500 * time.Millisecond, ListTimeout: 500 * time.Millisecond})
	r.Engine.Populate(2, 1, 1, 1)
	r.Engine.Hang()
	r.Start()
	r.Await("Disconnected", func(s *state.State) bool {
		c, _ := s.Condition(state.MirrorSynced)
		return c.Reason == state.ReasonDisconnected
	})
	r.Engine.Resume()
	r.Await("MirrorSynced", mirrortest.Synced)
	r.AwaitEqual()
}

// Nothing changed, nothing written; no request to the engine either.
func TestIdle(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(20, 5, 5, 2)
	r.Start()
	before := r.Await("MirrorSynced", mirrortest.Synced)
	calls := total(r.Engine.Calls())
	id := r.Engine.IDs("containers")[0]
	for _, noise := range []events.Action{"exec_create: sh", "exec_start: sh", "exec_die", "attach", "top", "resize"} {
		r.Engine.ChangeContainer(id, func(*container.InspectResponse) {}, noise)
	}
	// A change behind them, so that they have been seen.
	r.Engine.CreateVolume("v")
	after := r.Await("the volume", func(s *state.State) bool { return len(s.Volumes) == 6 })
	if n := after.Revision - before.Revision; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
	if n := total(r.Engine.Calls()) - calls; n != 1 {
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
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(5, 2, 2, 1)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.Drop = func(events.Message) bool { return true } })
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	var syncs sync.WaitGroup
	for i := range 5 {
		r.Engine.CreateVolume(fmt.Sprintf("v%d", i))
		syncs.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), mirrortest.Patience)
			defer cancel()
			if err := r.Source.Sync(ctx); err != nil {
				t.Error(err)
				return
			}
			has := make(chan bool)
			r.Do <- func() {
				_, ok := r.Store.Volume(fmt.Sprintf("v%d", i))
				has <- ok
			}
			if !<-has {
				t.Errorf("volume v%d is missing after the sync", i)
			}
		})
	}
	syncs.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.Engine.Hang()
	if err := r.Source.Sync(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled sync returned %v", err)
	}
}

// A full sync that finds nothing new changes no object, also where the list and the
// inspection of one do not say quite the same.
func TestSyncOfNothingNew(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 4, 2, 2, 2)
	anonymous := strings.Repeat("0123456789abcdef", 4)
	r.Engine.CreateVolume(anonymous)
	r.Engine.StartContainer(r.Engine.CreateContainer("c", "image0:latest", anonymous, "volume0"))
	churn(r.Engine, 50)
	r.AwaitEqual()
	before := r.Await("it at rest", mirrortest.Synced)
	for n := range uint64(2) {
		r.Source.Wake()
		after := r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs > before.Mirror.Resyncs+n })
		for _, c := range state.Changes(before, after) {
			t.Errorf("%s %s %s: %s", c.Type, c.Kind, c.ID, mirrortest.Marshal(t, c.Object))
		}
	}
	r.AwaitEqual()
}

// A network is what the list says it is: of a swarm's, the inspection may tell of this
// node.
func TestNetworksAreListed(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 1, 1, 1, 3)
	r.Engine.RemoveNetwork(r.Engine.CreateNetwork("short"))
	n := r.Engine.CreateNetwork("long")
	r.Await("the networks", func(s *state.State) bool { return len(s.Networks) == 4 && s.Networks[n].Name == "long" })
	if n := r.Engine.Calls()["GET /networks/{id}"]; n > 0 {
		t.Errorf("networks were inspected %d times", n)
	}
	r.AwaitEqual()
}

// A storm of 100,000 events ends equal.
func TestStorm(t *testing.T) {
	const many, workers = 100_000, 2
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 200, 20, 20, 5)
	ids := r.Engine.IDs("containers")
	var storm sync.WaitGroup
	for w := range workers {
		storm.Go(func() {
			for i := range many / workers {
				id := ids[(i*workers+w)%len(ids)]
				if i%50 == 0 { // the others only say that there might be something
					r.Engine.ChangeContainer(id, func(c *container.InspectResponse) { c.RestartCount++ })
				}
				r.Engine.Emit(events.ContainerEventType, events.ActionUpdate, id, map[string]string{"image": "image", "name": "name"})
			}
		})
	}
	storm.Wait()
	r.AwaitEqual()
}

// A full sync ends also while more events come than can be looked up.
func TestSyncUnderStorm(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{Parallel: 1})
	r.Engine.Populate(60, 1, 0, 0)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.InspectDelay = time.Millisecond })
	busy := r.Engine.IDs("containers")[:30]
	ctx, cancel := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	storm.Go(func() {
		for ctx.Err() == nil {
			for _, id := range busy {
				r.Engine.Emit(events.ContainerEventType, events.ActionUpdate, id, nil)
			}
			time.Sleep(time.Millisecond)
		}
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	cancel()
	storm.Wait()
	r.AwaitEqual()
}

// The engine tells nobody when it gives up restarting a container.
func TestRestartGivenUp(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	become := func(s container.ContainerState) func(*container.InspectResponse) {
		return func(c *container.InspectResponse) { c.State.Status = s }
	}
	r.Engine.ChangeContainer(id, become(container.StateRestarting), events.ActionDie)
	r.Await("the restart", func(s *state.State) bool { return s.Containers[id].State == state.StateRestarting })
	r.Engine.ChangeContainer(id, become(container.StateExited))
	r.Await("its end", func(s *state.State) bool { return s.Containers[id].State == state.StateExited })
	r.AwaitEqual()
}

// Nor when a start fails for which it has connected the container already.
func TestStartGivenUp(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 0, 0)
	id := r.Engine.CreateContainer("c", "image0:latest")
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
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
	r.Engine.ChangeContainer(id, address("172.17.0.3"), events.ActionUpdate)
	r.Await("its address", addressed)
	r.Engine.ChangeContainer(id, address(""))
	r.Await("no address", func(s *state.State) bool { return !addressed(s) })
	r.AwaitEqual()
}

// Podman answers "<nil>" for the gateway that an internal network lacks.
func TestNilGateway(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(1, 1, 1, 2)
	r.Engine.SetFacts(func(f *mirrortest.Facts) { f.Podman = true })
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.NilGateway = true })
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	r.AwaitEqual()
}

// Synced means all objects, also those that an event has told of during the sync and that
// the list was therefore not believed.
func TestSyncedMeansAll(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	id := r.Engine.CreateNetwork("n")
	r.Engine.CreateVolume("v")
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.ListDelay, f.InspectDelay = 300*time.Millisecond, 700*time.Millisecond })
	r.Start()
	for end := time.Now().Add(mirrortest.Patience); r.Engine.Streams() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	r.Engine.Emit(events.NetworkEventType, events.ActionCreate, id, nil)
	r.Engine.Emit(events.VolumeEventType, events.ActionMount, "v", nil)
	s := r.Await("MirrorSynced", mirrortest.Synced)
	if s.Networks[id].Name != "n" || s.Volumes["v"].Name != "v" {
		t.Errorf("mirrortest.Synced without what is there: networks %v, volumes %v", s.Networks, s.Volumes)
	}
	r.AwaitEqual()
}
