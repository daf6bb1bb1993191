package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/oracle"
	"github.com/docker-rd/docker-rd/internal/test/stateschema"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 20 * time.Second

// rig is a fake engine and a mirror of it, with the smallest loop there can be.
type rig struct {
	t      *testing.T
	dir    string
	path   string
	engine *fakeengine.Engine
	source *mirror.Source
	store  *mirror.Store // the loop's
	inbox  *mirror.Inbox
	exec   *mirror.Executor // the loop's
	oracle *oracle.Oracle
	do     chan func() // what the loop should do
	opts   mirror.SourceOptions
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rd") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func connectTo(host string) func(context.Context) (*endpoint.Client, error) {
	return func(context.Context) (*endpoint.Client, error) { return endpoint.Endpoint{Host: host}.Client() }
}

// testInstance is what the tests' files are of.
func testInstance() state.Instance {
	return state.Instance{UID: "u", Name: "default", Driver: "existing", Engine: "moby", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func newRig(t *testing.T, opts mirror.SourceOptions) *rig {
	t.Helper()
	dir := shortDir(t)
	engine, err := fakeengine.Start(filepath.Join(dir, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	if opts.Connect == nil {
		opts.Connect = connectTo(engine.Host())
	}
	r := newRigOf(t, dir, filepath.Join(dir, "e.sock"), opts)
	r.engine = engine
	return r
}

// newRigOf is a mirror of any engine, which the oracle asks at the socket.
func newRigOf(t *testing.T, dir, socket string, opts mirror.SourceOptions) *rig {
	t.Helper()
	if opts.MaxBackoff == 0 {
		opts.MaxBackoff = 50 * time.Millisecond
	}
	r := &rig{t: t, dir: dir, path: filepath.Join(dir, "state.json"), do: make(chan func()), opts: opts}
	r.oracle = oracle.New(socket)
	t.Cleanup(r.oracle.Close)
	store, err := mirror.OpenStore(r.path, filepath.Join(dir, "state.lock"), testInstance(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.wire(store, opts)
	return r
}

type (
	faults = fakeengine.Faults
	facts  = fakeengine.Facts
)

// again is the next supervisor of the same instance and engine.
func (r *rig) again() *rig {
	r.t.Helper()
	next := *r
	store, err := mirror.OpenStore(r.path, filepath.Join(r.dir, "state.lock"), testInstance(), slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	next.wire(store, r.opts)
	return &next
}

func (r *rig) wire(store *mirror.Store, opts mirror.SourceOptions) {
	discard := slog.New(slog.DiscardHandler)
	r.store = store
	r.source = mirror.NewSource(opts)
	r.inbox = mirror.NewInbox(r.requests(), discard)
	r.exec = mirror.NewExecutor(r.requests(), r.store, opts.Connect, r.source, discard)
}

func (r *rig) requests() string { return filepath.Join(r.dir, "requests") }

// start runs everything until the test ends or the returned function is called.
func (r *rig) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ran, read, looped := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { ran <- r.source.Run(ctx) }()
	go func() { read <- r.inbox.Run(ctx) }()
	go func() {
		defer close(looped)
		for {
			var flush <-chan time.Time
			if wait, dirty := r.store.NextFlush(); dirty {
				flush = time.After(wait)
			}
			select {
			case <-ctx.Done():
				return
			case u := <-r.source.Updates():
				r.store.Apply(u)
				r.exec.Observe(u)
			case q := <-r.inbox.Requests():
				r.exec.Accept(q)
			case res := <-r.exec.Results():
				r.exec.Receive(res)
			case f := <-r.do:
				f()
			case <-flush:
				if err := r.store.Flush(ctx); err != nil && ctx.Err() == nil {
					r.t.Errorf("flush: %v", err)
				}
				r.exec.Settle()
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-looped
		r.exec.Close()
		for _, err := range []error{<-ran, <-read} {
			if !errors.Is(err, context.Canceled) {
				r.t.Errorf("Run returned %v, want %v", err, context.Canceled)
			}
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// await follows the state file until it satisfies ok.
func (r *rig) await(what string, ok func(*state.State) bool) *state.State {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last *state.State
	for s, err := range state.Follow(ctx, r.path) {
		if err == nil {
			r.validate()
			if last = s; ok(s) {
				return s
			}
		}
	}
	text, _ := json.Marshal(last)
	r.t.Fatalf("no state with %s; the last was %.2000s", what, text)
	return nil
}

// validate holds the file, as it is now, against the schema.
func (r *rig) validate() {
	r.t.Helper()
	content, err := os.ReadFile(r.path)
	if err == nil {
		err = stateschema.Validate(content)
	}
	if err != nil {
		r.t.Fatalf("state file: %v", err)
	}
}

func synced(s *state.State) bool {
	c, _ := s.Condition(state.MirrorSynced)
	return c.Status == state.True
}

// awaitEqual waits until the file equals the engine and stays so for a moment.
func (r *rig) awaitEqual() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var diffs []oracle.Difference
	for range state.Follow(ctx, r.path) {
		r.validate()
		var err error
		if diffs, err = r.oracle.Compare(ctx, r.path); err != nil && ctx.Err() == nil {
			r.t.Fatal(err)
		}
		if len(diffs) == 0 {
			return
		}
	}
	r.t.Fatalf("the file differs from the engine:\n%s", oracle.Lines(diffs))
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// lines are written from any goroutine.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what was written since it was last called.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}
