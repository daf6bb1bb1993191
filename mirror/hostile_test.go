package mirror_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// What an engine, or whatever is between, should never answer.

// An answer is one in the engine's place.
type answer = func(w http.ResponseWriter, r *http.Request)

// broken is the beginning of an answer, whose end never comes.
func broken(header, value, body string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(header, value)
		_, _ = w.Write([]byte(body))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // cuts the connection
	}
}

// withStatus is an answer with a status.
func withStatus(status int, body string) answer {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Path+"/elsewhere") // for redirects
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// closing is an answer of HTTP/1.0, which ends with its connection, at a moment that
// nothing tells from any other.
func closing(body string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body))
			_ = conn.Close()
		}
	}
}

// No answer but a list empties the mirror, and none that is cut short.
func TestBrokenLists(t *testing.T) {
	paths := []string{"/containers/json", "/images/json", "/volumes", "/networks"}
	answers := map[string]answer{
		"cut in the middle":      broken("Content-Length", "9999", `[{"Id":"c0","Name":"v0"},`),
		"cut in a chunk":         broken("Transfer-Encoding", "chunked", `[{"Id":"c0","Name":"v0"}`),
		"cut before the first":   broken("Content-Length", "2", `[`),
		"ends with the list":     closing(`[{"Id":"c0"},{"Id":`),
		"ends after an object":   closing(`[{"Id":"c0"}`),
		"ends at once":           closing(``),
		"empty":                  withStatus(http.StatusOK, ``),
		"a page":                 withStatus(http.StatusOK, `<html>Welcome to nginx!</html>`),
		"another type":           withStatus(http.StatusOK, `"none"`),
		"an object of no type":   withStatus(http.StatusOK, `[{"Id":7,"Name":7}]`),
		"an error":               withStatus(http.StatusInternalServerError, `{"message":"layer does not exist"}`),
		"an error that is empty": withStatus(http.StatusServiceUnavailable, ``),
		"not found":              withStatus(http.StatusNotFound, `{"message":"page not found"}`),
		"a conflict":             withStatus(http.StatusConflict, `{"message":"busy"}`),
		"elsewhere":              withStatus(http.StatusMovedPermanently, ``),
		"no content":             withStatus(http.StatusNoContent, ``),
		"stalls": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`[{"Id":"c0"},`))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	}
	slow := []string{"an error", "an error that is empty", "not found", "a conflict", "elsewhere", "no content", "stalls"}
	for i, name := range slices.Sorted(maps.Keys(answers)) {
		answer, paths := answers[name], paths
		if slices.Contains(slow, name) { // these are waited for: one kind will do
			paths = paths[i%len(paths):][:1]
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mirrortest.NewSynced(t, mirror.SourceOptions{ListTimeout: time.Second}, 5, 5, 5, 5)
			for _, path := range paths {
				var answered atomic.Int64
				r.Engine.SetFaults(func(f *mirrortest.Faults) {
					f.Answer = func(w http.ResponseWriter, r *http.Request, p string) bool {
						if p != path {
							return false
						}
						answered.Add(1)
						answer(w, r)
						return true
					}
				})
				r.Source.Wake()
				r.Await("Disconnected", func(s *state.State) bool {
					if len(s.Containers) != 5 || len(s.Images) != 5 || len(s.Volumes) != 5 || len(s.Networks) != 5 {
						t.Errorf("%s: %d containers, %d images, %d volumes and %d networks are left", path, len(s.Containers), len(s.Images), len(s.Volumes), len(s.Networks))
						return true
					}
					c, _ := s.Condition(state.MirrorSynced)
					return c.Status != state.True && strings.Contains(c.Message, "list the") && answered.Load() > 1
				})
				r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
				r.Await("another sync", mirrortest.Synced)
				r.AwaitEqual()
			}
		})
	}
}

// Whatever comes in the stream of events, what happens behind it is seen. A text that no
// event can be made of ends the stream, because who knows what it stood for; an event of
// what the mirror does not hold costs nothing.
func TestOddEvents(t *testing.T) {
	event := func(typ, action, id string) string {
		return fmt.Sprintf(`{"status":%q,"id":%q,"Type":%q,"Action":%[1]q,"Actor":{"ID":%[2]q,"Attributes":{"name":"x"}},"scope":"local","time":%[4]d,"timeNano":%[5]d}`,
			action, id, typ, time.Now().Unix(), time.Now().UnixNano())
	}
	for name, test := range map[string]struct {
		text   []string // the parts come one by one
		resync bool
	}{
		"several on a line":      {[]string{event("volume", "mount", "volume0") + event("volume", "mount", "volume1") + event("network", "update", "n") + "\n"}, false},
		"in parts":               {strings.SplitAfter(event("container", "start", "nothing"), `"`), false},
		"white space":            {[]string{"\r\n\n \t", "\n", event("volume", "mount", "volume0"), "\n\n\n"}, false},
		"unknown types":          {[]string{event("plugin", "enable", "p"), event("pod", "stop", "p"), event("", "", ""), event("node", "update", "x")}, false},
		"unknown actions":        {[]string{event("container", "ascend", "c"), event("image", "melt", "i"), event("volume", "fill: up", "v"), event("network", "", "n")}, false},
		"odd ids":                {[]string{event("container", "start", "../images/json"), event("volume", "create", "a b?c#d%2F/../e"), event("network", "create", "\u202e☃"), event("container", "die", ".")}, false},
		"nobody":                 {[]string{`{"Type":"container","Action":"die","Actor":null}`, `{"Type":"volume","Action":"create"}`, `{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":null}}`}, false},
		"nothing":                {[]string{`{}`, `null`, `{"Actor":{}}`, `{"Type":null,"Action":null,"timeNano":null}`}, false},
		"huge":                   {[]string{`{"Type":"container","Action":"exec_start: `, strings.Repeat("x", 1<<20), `","Actor":{"ID":"`, strings.Repeat("y", 1<<20), `"}}`}, false},
		"nested":                 {[]string{`{"Type":"builder","Action":"prune","More":`, strings.Repeat(`{"a":[`, 500), strings.Repeat(`]}`, 500), `}`}, false},
		"of another year":        {[]string{`{"Type":"volume","Action":"mount","Actor":{"ID":"volume0"},"timeNano":1}`}, true},
		"another type":           {[]string{`{"Type":7,"Action":"die"}`}, true},
		"a time as text":         {[]string{`{"Type":"container","Action":"die","timeNano":"now"}`}, true},
		"a list":                 {[]string{`[]`}, true},
		"a string":               {[]string{`"hello"`}, true},
		"no JSON":                {[]string{"event: container\n\n"}, true},
		"no characters":          {[]string{"\x00\xff\xfe"}, true},
		"a brace too many":       {[]string{event("volume", "mount", "volume0") + "}"}, true},
		"an error of the engine": {[]string{`{"message":"the daemon is shutting down"}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 5, 2, 2, 2)
			r.AwaitStream()
			for _, part := range test.text {
				r.Engine.EmitText(part)
			}
			churn(r.Engine, 30)
			r.AwaitEqual()
			r.Engine.CreateVolume("last")
			s := r.Await("what came last", func(s *state.State) bool {
				_, ok := s.Volumes["last"]
				return ok && mirrortest.Synced(s) && (s.Mirror.Resyncs > 1 || !test.resync)
			})
			if s.Mirror.Resyncs > 1 && !test.resync {
				t.Errorf("%d full syncs", s.Mirror.Resyncs)
			}
			r.AwaitEqual()
		})
	}
}

// An engine that takes long to say what it is, is asked for what happened meanwhile. It
// remembers 256 events.
func TestSlowInfo(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(20, 5, 5, 2)
	r.Engine.SetFaults(func(f *mirrortest.Faults) { f.InfoDelay = time.Second })
	r.Start()
	for end := time.Now().Add(mirrortest.Patience); len(r.Engine.Calls()) < 4 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // whether the lists have been answered, nobody tells
	churn(r.Engine, 2000)
	r.Await("MirrorSynced", mirrortest.Synced)
	r.AwaitEqual()
}

// The engine's clock is the one that counts, whatever it shows.
func TestClockOff(t *testing.T) {
	for _, offset := range []time.Duration{-30 * time.Hour, -time.Minute, time.Minute, 30 * time.Hour, 30 * 365 * 24 * time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.SetFacts(func(f *mirrortest.Facts) { f.ClockOffset = offset })
			r.Engine.Populate(20, 5, 5, 2)
			r.Engine.SetFaults(func(f *mirrortest.Faults) { f.SubscribeDelay = 300 * time.Millisecond })
			r.Start()
			r.Await("MirrorSynced", mirrortest.Synced)
			churn(r.Engine, 50) // as many as are replayed
			s := r.Await("the last of it", func(s *state.State) bool { return s.Mirror.Events >= 40 })
			r.AwaitEqual()
			if s.Mirror.Resyncs != 1 {
				t.Errorf("%d full syncs", s.Mirror.Resyncs)
			}
		})
	}
}

// Every engine from API 1.41 on is spoken to in the latest version that both know.
func TestAPIVersions(t *testing.T) {
	for offered, spoken := range map[string]string{"1.41": "1.41", "1.47": "1.47", "1.999": client.MaxAPIVersion} {
		t.Run(offered, func(t *testing.T) {
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.SetFacts(func(f *mirrortest.Facts) { f.APIVersion = offered })
			r.Engine.Populate(3, 2, 2, 2)
			var wrong atomic.Value
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.Answer = func(_ http.ResponseWriter, r *http.Request, path string) bool {
					if r.URL.Path != path && !strings.HasPrefix(r.URL.Path, "/v"+spoken+"/") { // the oracle tells none
						wrong.Store(r.URL.Path)
					}
					return false
				}
			})
			r.Start()
			r.Await("MirrorSynced", mirrortest.Synced)
			churn(r.Engine, 30)
			r.AwaitEqual()
			if path := wrong.Load(); path != nil {
				t.Errorf("the engine was asked for %s, want version %s", path, spoken)
			}
		})
	}
}

// What docker's client can't use is no engine.
func TestOldAPI(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	for version, ok := range map[string]bool{"1.24": false, "1.41": true} {
		r.Engine.SetFacts(func(f *mirrortest.Facts) { f.APIVersion = version })
		api, err := mirrortest.ConnectTo(r.Engine.Host())()
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		if err := api.Ping(t.Context()); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), version) {
			t.Errorf("Ping of API version %s: %v", version, err)
		}
	}
}

// Over TCP, answers may be compressed.
func TestCompressed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := mirrortest.New(t, mirror.SourceOptions{Connect: mirrortest.ConnectTo("tcp://" + l.Addr().String())})
	var compressed atomic.Int64
	socket := r.Engine.Path()
	engine := &httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) { q.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return fakeengine.Dial(ctx, socket)
		}},
		FlushInterval: -1, // at once
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Content-Length")
			return nil
		},
	}
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !strings.Contains(q.Header.Get("Accept-Encoding"), "gzip") {
			engine.ServeHTTP(w, q)
			return
		}
		compressed.Add(1)
		q.Header.Del("Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		z := &zipped{w, gzip.NewWriter(w)}
		engine.ServeHTTP(z, q)
		_ = z.zip.Close()
	})}
	go func() { _ = proxy.Serve(l) }()
	t.Cleanup(func() { _ = proxy.Close() })
	r.Engine.Populate(30, 5, 5, 5)
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	churn(r.Engine, 50)
	r.AwaitEqual()
	if compressed.Load() == 0 {
		t.Error("nothing was compressed")
	}
}

type zipped struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (z *zipped) Write(b []byte) (int, error) { return z.zip.Write(b) }
func (z *zipped) Flush() {
	_ = z.zip.Flush()
	_ = http.NewResponseController(z.ResponseWriter).Flush()
}

// An engine that ends each stream as soon as it has begun, as a proxy does that can't
// pass it on, is asked again and again, but not all the time.
func TestStreamsThatEndAtOnce(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{MaxBackoff: 300 * time.Millisecond})
	r.Engine.Populate(5, 2, 2, 2)
	var streams atomic.Int64
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(w http.ResponseWriter, _ *http.Request, path string) bool {
			if path != "/events" {
				return false
			}
			streams.Add(1)
			// Synced, and then it ends.
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond)
			return true
		}
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	begin := streams.Load()
	time.Sleep(3 * time.Second)
	if n := streams.Load() - begin; n > 14 {
		t.Errorf("%d streams were asked for in three seconds", n)
	}
	r.Engine.CreateVolume("v")
	r.Await("a volume that no event told of", func(s *state.State) bool { _, ok := s.Volumes["v"]; return ok })
	r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
	r.AwaitStream()
	r.AwaitEqual()
}

// What a list says twice is there once, and what it leaves out of an object is not there.
func TestOddLists(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(2, 2, 2, 2)
	var odd atomic.Bool
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(w http.ResponseWriter, q *http.Request, path string) bool {
			if !odd.Load() || !strings.HasPrefix(q.URL.Path, "/v") {
				return false
			}
			switch path {
			case "/containers/json":
				_, _ = w.Write([]byte(`[null,{},{"Id":""},{"Id":"c","Names":["/c"],"State":"dead","Labels":null},{"Id":"c","Names":null}]`))
			case "/containers/c/json":
				_, _ = w.Write([]byte(`{"Id":"c","Name":"/c","State":{"Status":"dead"},"HostConfig":null,"Mounts":null}`))
			case "/images/json":
				_, _ = w.Write([]byte(`null`))
			case "/volumes":
				_, _ = w.Write([]byte(`{"Volumes":[{"Name":"v"},{"Name":"v"},{"Name":"V"},{"Driver":"local"}],"Warnings":null}`))
			case "/networks":
				_, _ = w.Write([]byte(`[{"Id":"n","IPAM":{"Config":null}}]` + "\n"))
			default:
				return false
			}
			return true
		}
	})
	r.Start()
	r.Await("MirrorSynced", mirrortest.Synced)
	odd.Store(true)
	r.Source.Wake()
	s := r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs > 1 })
	if len(s.Containers) != 1 || s.Containers["c"].State != state.StateDead || len(s.Images) != 0 || len(s.Volumes) != 2 || len(s.Networks) != 1 {
		t.Errorf("containers %v, images %v, volumes %v, networks %v", s.Containers, s.Images, s.Volumes, s.Networks)
	}
	// Nothing has changed since, and nothing is written of the objects.
	r.Source.Wake()
	again := r.Await("a third sync", func(s *state.State) bool { return s.Mirror.Resyncs > 2 })
	if again.Containers["c"].Revision != s.Containers["c"].Revision || again.Volumes["v"].Revision != s.Volumes["v"].Revision {
		t.Error("what has not changed has other revisions")
	}
}

// A plugin may give its volumes any name.
func TestOddName(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 0, 0, 0, 0)
	r.Engine.CreateVolume("a?b=c;d#e")
	r.AwaitEqual()
}

// Of an image that an engine lists several times, all names count: before moby 27, those
// that keep images in containerd have an entry for each platform, in no order.
func TestImagesListedTwice(t *testing.T) {
	r := mirrortest.New(t, mirror.SourceOptions{})
	r.Engine.Populate(0, 1, 0, 0)
	id := r.Engine.IDs("images")[0]
	entries := []string{
		fmt.Sprintf(`{"Id":%q,"RepoTags":["b:1","a:1"],"RepoDigests":["b@x"],"Size":1}`, id),
		fmt.Sprintf(`{"Id":%q,"RepoTags":["a:1"],"RepoDigests":["a@x"],"Size":2,"Labels":{"a":"b"}}`, id),
	}
	var turned atomic.Bool
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Answer = func(w http.ResponseWriter, _ *http.Request, path string) bool {
			if path != "/images/json" {
				return false
			}
			list := slices.Clone(entries)
			if turned.Load() {
				slices.Reverse(list)
			}
			_, _ = w.Write([]byte("[" + strings.Join(list, ",") + "]"))
			return true
		}
	})
	r.Start()
	first := r.Await("MirrorSynced", mirrortest.Synced).Images
	if i := first[id]; len(first) != 1 || i.Size != 2 || len(i.Labels) != 1 ||
		!slices.Equal(i.RepoTags, []string{"a:1", "b:1"}) || !slices.Equal(i.RepoDigests, []string{"a@x", "b@x"}) {
		t.Errorf("images %+v", first)
	}
	turned.Store(true)
	r.Source.Wake()
	s := r.Await("another sync", func(s *state.State) bool { return s.Mirror.Resyncs == 2 })
	if s.Images[id].Revision != first[id].Revision {
		t.Errorf("the order of the list makes a difference: %+v, %+v", first[id], s.Images[id])
	}
}

// Containers can have more of everything than anybody needs, and names that nobody would
// choose.
func TestCrowdedContainer(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 1, 1, 0, 0)
	id := r.Engine.IDs("containers")[0]
	r.Engine.ChangeContainer(id, func(c *container.InspectResponse) {
		c.Config.Labels = map[string]string{"": "", "\u2028": "\x00", "com.docker.compose.project": "ü", "com.docker.swarm.task": "", `"\`: `</script>`}
		for i := range 3000 {
			c.Config.Labels[fmt.Sprintf("label.%d", i)] = strings.Repeat("x", i%50)
		}
		c.NetworkSettings.Ports = network.PortMap{}
		for i := range 1000 {
			port := network.MustParsePort(fmt.Sprintf("%d/%s", i+1, []string{"tcp", "udp", "sctp"}[i%3]))
			c.NetworkSettings.Ports[port] = []network.PortBinding{
				{HostIP: netip.MustParseAddr("::"), HostPort: fmt.Sprint(i + 1)}, {HostIP: netip.MustParseAddr("0.0.0.0"), HostPort: fmt.Sprint(i + 1)},
			}
		}
		c.Args = []string{strings.Repeat("ü", 1<<17), "\n", "", "\u202e"}
		c.Name = "/" + strings.Repeat("n", 4000)
	}, events.ActionUpdate)
	r.Await("it", func(s *state.State) bool { return len(s.Containers[id].Ports) == 2000 })
	r.AwaitEqual()
}

// What is listed and can't be inspected, whatever the reason, hides nothing.
func TestUninspectableKinds(t *testing.T) {
	const cut = 0 // in the middle of the answer
	for _, status := range []int{http.StatusNotFound, http.StatusConflict, http.StatusInternalServerError, http.StatusMovedPermanently, http.StatusNoContent, cut} {
		for _, kind := range []string{"containers", "images", "volumes", "networks"} {
			t.Run(fmt.Sprint(status, kind), func(t *testing.T) {
				t.Parallel()
				r := mirrortest.New(t, mirror.SourceOptions{})
				r.Engine.Populate(4, 4, 4, 4)
				bad := r.Engine.IDs(kind)[2]
				r.Engine.SetFaults(func(f *mirrortest.Faults) {
					f.Answer = func(w http.ResponseWriter, _ *http.Request, path string) bool {
						if !strings.HasPrefix(path, "/"+kind+"/"+bad) {
							return false
						}
						if status == cut {
							broken("Content-Length", "999", `{"Id":"`+bad)(w, nil)
						}
						w.WriteHeader(status)
						return true
					}
				})
				r.Start()
				s := r.Await("MirrorSynced", mirrortest.Synced)
				all := func(s *state.State) bool {
					n := 4
					if status == http.StatusNotFound {
						n = 3
					}
					return len(s.Containers) >= n && len(s.Images) >= n && len(s.Volumes) >= n && len(s.Networks) >= n
				}
				if !all(s) {
					t.Errorf("%d containers, %d images, %d volumes, %d networks", len(s.Containers), len(s.Images), len(s.Volumes), len(s.Networks))
				}
				r.Engine.Emit(events.Type(strings.TrimSuffix(kind, "s")), events.ActionCreate, bad, nil)
				r.Engine.CreateVolume("behind")
				r.Await("what comes behind", func(s *state.State) bool { _, ok := s.Volumes["behind"]; return ok && all(s) })
				r.Engine.SetFaults(func(f *mirrortest.Faults) { *f = mirrortest.Faults{} })
				r.Source.Wake()
				r.AwaitEqual()
			})
		}
	}
}

// A container that can't be inspected any more, as one whose layers are lost with the engine's end, is as
// the engine lists it, not as it was before.
func TestUninspectableLater(t *testing.T) {
	r := mirrortest.NewSynced(t, mirror.SourceOptions{}, 2, 1, 0, 0)
	bad := r.Engine.IDs("containers")[0]
	r.Engine.SetFaults(func(f *mirrortest.Faults) {
		f.Drop = func(events.Message) bool { return true }
		f.InspectStatus = func(_, id string) int {
			if id == bad {
				return http.StatusInternalServerError
			}
			return 0
		}
	})
	r.Engine.ExitContainer(bad, 1)
	r.Engine.EndStreams()
	s := r.Await("another sync", func(s *state.State) bool { return mirrortest.Synced(s) && s.Mirror.Resyncs == 2 })
	if c := s.Containers[bad]; c.State != state.StateExited {
		t.Errorf("it is %s", c.State)
	}
}

// An engine may refuse to list what is just changing, as podman does while a container is
// being removed. That is no reason to lose the events.
func TestRefusedLists(t *testing.T) {
	for _, path := range []string{"/containers/json", "/images/json", "/volumes", "/networks"} {
		t.Run(strings.Split(path, "/")[1], func(t *testing.T) {
			t.Parallel()
			r := mirrortest.New(t, mirror.SourceOptions{})
			r.Engine.Populate(4, 4, 4, 4)
			var refusals atomic.Int64
			r.Engine.SetFaults(func(f *mirrortest.Faults) {
				f.Answer = func(w http.ResponseWriter, r *http.Request, p string) bool {
					refuse := p == path && p != r.URL.Path && refusals.Add(-1) >= 0 // not the oracle
					if refuse {
						withStatus(http.StatusInternalServerError, `{"message":"it can't be listed"}`)(w, r)
					}
					return refuse
				}
			})
			refusals.Store(2)
			r.Start()
			s := r.Await("MirrorSynced", mirrortest.Synced)
			if calls := r.Engine.Calls()["GET /events"]; calls != 1 || s.Mirror.Resyncs != 1 {
				t.Errorf("%d streams, %d syncs", calls, s.Mirror.Resyncs)
			}
			refusals.Store(2)
			r.Engine.Emit(events.Type(strings.TrimSuffix(strings.Split(path, "/")[1], "s")), events.ActionPrune, "", nil)
			r.Engine.CreateVolume("behind")
			churn(r.Engine, 20)
			r.AwaitEqual()
			if calls := r.Engine.Calls()["GET /events"]; calls != 1 {
				t.Errorf("%d streams", calls)
			}
			// The others are mirrored if it goes on refusing.
			refusals.Store(1 << 30)
			r.Source.Wake()
			r.Await("Disconnected", func(s *state.State) bool {
				c, _ := s.Condition(state.MirrorSynced)
				return c.Reason == state.ReasonDisconnected && strings.Contains(c.Message, "can't be listed")
			})
			r.Engine.CreateVolume("late")
			n := r.Engine.CreateNetwork("late")
			r.Await("what is not refused", func(s *state.State) bool {
				_, v := s.Volumes["late"]
				_, n := s.Networks[n]
				return (v || path == "/volumes") && (n || path == "/networks")
			})
			refusals.Store(0)
			r.AwaitEqual()
		})
	}
}
