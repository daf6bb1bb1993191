// Package fakeengine is an engine for tests: an HTTP server that speaks the calls
// of the Docker Engine API that docker rd uses, keeps its objects in memory, and can
// be told to misbehave in the ways that real engines do.
//
// It answers from encodings made when an object changes, so a list of ten thousand
// containers costs it next to nothing.
package fakeengine

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// APIVersion is the version of the API that the engine speaks unless told otherwise.
const APIVersion = "1.47"

// Engine is a running fake engine. Its methods may be called at any time and from
// any goroutine.
type Engine struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{} // closed when server serves no more
	host     string
	path     string // that it was started on

	mu     sync.Mutex
	faults Faults
	facts  Facts
	world  world
	bus    bus
	calls  map[string]int
	gate   chan struct{} // closed while the engine does not hang
}

// Facts are what the engine says of itself.
type Facts struct {
	ID         string
	Version    string
	APIVersion string
	OS, Arch   string // as /info has them
	Rootless   bool
	// Podman makes the engine say that it is podman, with another ID at each call.
	Podman bool
	// Snapshotter makes the engine say that it keeps images in containerd.
	Snapshotter bool
	// ClockOffset is what its clock is ahead of the real one.
	ClockOffset time.Duration
}

// Start runs an engine on a unix socket at path, on Windows on a port that path stands for.
// It listens when Start returns.
func Start(path string) (*Engine, error) {
	listener, err := listen(path)
	if err != nil {
		return nil, err
	}
	e := Serve(listener)
	e.path = path
	return e, nil
}

// Serve runs an engine on a listener, which Close closes.
func Serve(listener net.Listener) *Engine {
	addr := listener.Addr()
	host := addr.Network() + "://" + addr.String()
	gate := make(chan struct{})
	close(gate)
	e := &Engine{
		listener: listener,
		host:     host,
		facts:    Facts{ID: "fake-engine", Version: "28.0.0", APIVersion: APIVersion, OS: "linux", Arch: "x86_64"},
		calls:    map[string]int{},
		gate:     gate,
		served:   make(chan struct{}),
	}
	e.world.init()
	e.server = &http.Server{Handler: e.handler()}
	go func() {
		defer close(e.served)
		_ = e.server.Serve(listener)
	}()
	return e
}

// Host returns the engine's address as DOCKER_HOST takes it.
func (e *Engine) Host() string { return e.host }

// Path returns what [Start] was told, with which another engine takes the place of this one
// once it is closed.
func (e *Engine) Path() string { return e.path }

// Close stops the engine and cuts its connections.
func (e *Engine) Close() error {
	err := e.server.Close()
	// One that has not come to serving yet would close the listener later, and remove a
	// socket that may be another engine's by then.
	<-e.served
	if e.listener.Addr().Network() == "unix" {
		if rm := os.Remove(e.listener.Addr().String()); !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}

// SetFacts changes what the engine says of itself.
func (e *Engine) SetFacts(change func(*Facts)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.facts)
}

// SetFaults changes how the engine misbehaves, from the next call or event on.
func (e *Engine) SetFaults(change func(*Faults)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.faults)
}

// Hang makes the engine accept connections and answer nothing, until Resume.
func (e *Engine) Hang() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate = make(chan struct{})
}

// Resume ends a Hang.
func (e *Engine) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.gate:
	default:
		close(e.gate)
	}
}

// Calls returns how often each call was made since the start, by method and route,
// as in "GET /containers/json".
func (e *Engine) Calls() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]int, len(e.calls))
	for k, n := range e.calls {
		out[k] = n
	}
	return out
}

func (e *Engine) now() time.Time { return time.Now().Add(e.facts.ClockOffset) }

// wait waits while the engine hangs, then for the delay. It returns false if the
// client went away.
func (e *Engine) wait(ctx context.Context, delay time.Duration) bool {
	e.mu.Lock()
	gate := e.gate
	e.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
		return false
	}
	return delay <= 0 || pause.For(ctx, delay) == nil
}

func mustEncode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return data
}
