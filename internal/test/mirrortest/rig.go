// Package mirrortest is a mirror of an engine for tests, with the smallest loop there can be.
package mirrortest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/oracle"
	"github.com/docker-rd/docker-rd/internal/test/stateschema"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// Patience is how long a test waits for what should take milliseconds.
const Patience = time.Minute

// Until waits until ok returns true, or fails the test with the message after [Patience].
func Until(t *testing.T, message string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(message)
		}
	}
}

// A Rig is a fake engine and a mirror of it, with the smallest loop there can be.
type Rig struct {
	T        *testing.T
	Dir      string
	Path     string
	Engine   *fakeengine.Engine
	Source   *mirror.Source
	Store    *mirror.Store      // the loop's
	Executor *requests.Executor // the loop's
	Oracle   oracle.Expecter
	Do       chan func() // what the loop should do
	Options  mirror.SourceOptions
}

// ShortDir returns a directory for the test whose name leaves room for a socket.
func ShortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rd") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ConnectTo returns what connects to the engine at host.
func ConnectTo(host string) func() (mirror.Engine, error) {
	return mirror.Connector{Endpoint: func() (endpoint.Endpoint, error) { return endpoint.Endpoint{Host: host}, nil }}.Connect
}

// Instance is what the tests' files are of.
func Instance() state.Instance {
	return state.Instance{UID: "u", Name: "default", Driver: "existing", Engine: "moby", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// New returns a mirror of a fake engine.
func New(t *testing.T, opts mirror.SourceOptions) *Rig {
	t.Helper()
	dir := ShortDir(t)
	engine, err := fakeengine.Start(filepath.Join(dir, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	if opts.Connect == nil {
		opts.Connect = ConnectTo(engine.Host())
	}
	r := NewOf(t, dir, filepath.Join(dir, "e.sock"), opts)
	r.Engine = engine
	return r
}

// NewSynced is New for an engine that has so many objects, and returns when they are mirrored.
func NewSynced(t *testing.T, opts mirror.SourceOptions, containers, images, volumes, networks int) *Rig {
	t.Helper()
	r := New(t, opts)
	r.Engine.Populate(containers, images, volumes, networks)
	r.Start()
	r.Await("MirrorSynced", Synced)
	return r
}

// NewOf returns a mirror of any engine that speaks Docker's API, which the oracle asks at the socket.
func NewOf(t *testing.T, dir, socket string, opts mirror.SourceOptions) *Rig {
	t.Helper()
	return NewWith(t, dir, oracle.New(socket), opts)
}

// NewWith returns a mirror of any engine.
func NewWith(t *testing.T, dir string, o oracle.Expecter, opts mirror.SourceOptions) *Rig {
	t.Helper()
	if opts.MaxBackoff == 0 {
		opts.MaxBackoff = 50 * time.Millisecond
	}
	r := &Rig{T: t, Dir: dir, Path: filepath.Join(dir, "state.json"), Do: make(chan func()), Options: opts, Oracle: o}
	t.Cleanup(r.Oracle.Close)
	store, err := mirror.OpenStore(r.Path, filepath.Join(dir, "state.lock"), Instance(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.wire(store, opts)
	return r
}

type (
	Faults = fakeengine.Faults
	Facts  = fakeengine.Facts
)

// Again returns the next supervisor of the same instance and engine.
func (r *Rig) Again() *Rig {
	r.T.Helper()
	next := *r
	store, err := mirror.OpenStore(r.Path, filepath.Join(r.Dir, "state.lock"), Instance(), slog.New(slog.DiscardHandler))
	if err != nil {
		r.T.Fatal(err)
	}
	next.wire(store, r.Options)
	return &next
}

func (r *Rig) wire(store *mirror.Store, opts mirror.SourceOptions) {
	discard := slog.New(slog.DiscardHandler)
	r.Store = store
	r.Source = mirror.NewSource(opts)
	r.Executor = requests.NewExecutor(r.RequestsDir(), r.Store, opts.Connect, r.Source, discard)
}

func (r *Rig) RequestsDir() string { return filepath.Join(r.Dir, "requests") }

// Start runs everything until the test ends or the returned function is called.
func (r *Rig) Start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran, read, looped := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { ran <- r.Source.Run(ctx) }()
	inbox := make(chan requests.Request)
	go func() {
		read <- requests.Follow(ctx, r.RequestsDir(), slog.New(slog.DiscardHandler), func(q requests.Request) {
			select {
			case inbox <- q:
			case <-ctx.Done():
			}
		})
	}()
	go func() {
		defer close(looped)
		for {
			var flush <-chan time.Time
			if wait, dirty := r.Store.NextFlush(); dirty {
				flush = time.After(wait)
			}
			select {
			case <-ctx.Done():
				return
			case u := <-r.Source.Updates():
				r.Executor.Observe(u, r.Store.Apply(u))
			case q := <-inbox:
				r.Executor.Accept(q)
			case apply := <-r.Executor.Results():
				apply()
			case f := <-r.Do:
				f()
			case <-flush:
				if err := r.Store.Flush(ctx); err != nil && ctx.Err() == nil {
					r.T.Errorf("flush: %v", err)
				}
				r.Executor.Flushed()
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-looped
		r.Executor.Close()
		for _, err := range []error{<-ran, <-read} {
			if !errors.Is(err, context.Canceled) {
				r.T.Errorf("Run returned %v, want %v", err, context.Canceled)
			}
		}
	})
	r.T.Cleanup(stop)
	return stop
}

// Await follows the state file until it satisfies ok.
func (r *Rig) Await(what string, ok func(*state.State) bool) *state.State {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var last *state.State
	for s, err := range state.Follow(ctx, r.Path) {
		if err == nil {
			r.Validate()
			if last = s; ok(s) {
				return s
			}
		}
	}
	text, _ := json.Marshal(last)
	r.T.Fatalf("no state with %s; the last was %.2000s", what, text)
	return nil
}

// Validate holds the file, as it is now, against the schema.
func (r *Rig) Validate() {
	r.T.Helper()
	content, err := files.Read(r.Path)
	if err == nil {
		err = stateschema.Validate(content)
	}
	if err != nil {
		r.T.Fatalf("state file: %v", err)
	}
}

// Synced reports whether the mirror is complete.
func Synced(s *state.State) bool {
	c, _ := s.Condition(state.MirrorSynced)
	return c.Status == state.True
}

// AwaitEqual waits until the file equals the engine and stays so for a moment.
func (r *Rig) AwaitEqual() {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var diffs []oracle.Difference
	for range state.Follow(ctx, r.Path) {
		r.Validate()
		var err error
		if diffs, err = oracle.Compare(ctx, r.Oracle, r.Path); err != nil && ctx.Err() == nil {
			r.T.Fatal(err)
		}
		if len(diffs) == 0 {
			return
		}
	}
	r.T.Fatalf("the file differs from the engine:\n%s", oracle.Lines(diffs))
}

// Marshal returns the encoding of v.
func Marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Lines are written from any goroutine.
type Lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// Take returns what was written since it was last called.
func (l *Lines) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// AwaitStream waits until the engine has a listener.
func (r *Rig) AwaitStream() {
	r.T.Helper()
	Until(r.T, "nobody listens to the engine's events", func() bool { return r.Engine.Streams() != 0 })
}
