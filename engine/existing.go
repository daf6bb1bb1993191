package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"runtime"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/relay"
)

// existing adopts an engine that somebody else runs: start connects, stop disconnects. If the
// engine is not on a local socket, a local socket relays to it meanwhile.
type existing struct {
	inst *instance.Instance
	log  *slog.Logger
}

// Check implements [Driver]. It does not connect to the engine.
func (d existing) Check() []error {
	if err := d.check(); err != nil {
		return []error{err}
	}
	return nil
}

func (d existing) check() error {
	ep, err := d.elsewhere()
	if name := d.inst.Settings.FromContext; errdefs.IsNotFound(err) {
		program, _ := ProgramOf(d.inst)
		return failure.WithCode(&ContextError{name, d.inst.DockerConfig, program}, failure.CodeRefused)
	}
	if err != nil {
		return err
	}
	if d.localHost(ep) != d.ownHost() {
		return nil
	}
	// The path of a socket may be too long.
	_, err = endpoint.FromURL(d.ownHost(), endpoint.TLSOptions{})
	return failure.WithHint(err, "set %s to a directory with a shorter path", instance.HomeEnv)
}

// A ContextError says that the context to adopt does not exist in a Docker configuration.
type ContextError struct {
	Context, DockerConfig string
	Program               Program // that makes such a context when it starts; zero if none is known
}

func (e *ContextError) Error() string {
	return fmt.Sprintf("context %q does not exist in %q", e.Context, e.DockerConfig)
}

// Adopt implements [Driver]. There is never an engine of ours.
func (d existing) Adopt(context.Context) (Running, error) { return nil, nil }

// Start implements [Driver]. A user's context may lead to a local socket now and elsewhere
// later, so it gets a relay in any case.
func (d existing) Start(context.Context) (Running, error) {
	ep, err := d.elsewhere()
	if err != nil {
		return nil, err
	}
	c := &connected{end: func() {}}
	host := d.localHost(ep)
	needed := host == d.ownHost()
	if !needed && (d.inst.Settings.FromContext == "" || host == "") {
		return c, nil
	}
	l, err := relay.Listen(d.inst.Paths.Socket())
	if err != nil && !needed {
		d.log.Warn("no local socket for when the context leads elsewhere", "error", err)
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.serve(l, relay.Relay{Dial: d.dialer(), Log: d.log})
	return c, nil
}

// dialer returns a function that connects to the engine, wherever that is then.
func (d existing) dialer() func(context.Context) (net.Conn, error) {
	var mu sync.Mutex
	var now endpoint.Endpoint // to which dial connects
	var dial func(context.Context) (net.Conn, error)
	return func(ctx context.Context) (net.Conn, error) {
		ep, err := d.elsewhere()
		if err != nil {
			return nil, err
		}
		mu.Lock()
		if dial == nil || !reflect.DeepEqual(ep, now) {
			now = ep
			dial, err = ep.Dialer()
		}
		connect := dial
		mu.Unlock()
		if err != nil {
			return nil, err
		}
		return connect(ctx)
	}
}

// LocalHost implements [Driver].
func (d existing) LocalHost() (string, error) {
	ep, err := d.Endpoint()
	if err != nil {
		return "", err
	}
	return d.localHost(ep), nil
}

// localHost is where the engine at ep is reached on this machine. On Windows programs want a pipe,
// and there is none of ours.
func (d existing) localHost(ep endpoint.Endpoint) string {
	switch {
	case ep.IsLocal():
		return ep.Host
	case runtime.GOOS == "windows", !ep.CanDial():
		return ""
	}
	return d.ownHost()
}

// ownHost is the URL of the instance's own socket.
func (d existing) ownHost() string { return "unix://" + d.inst.Paths.Socket() }

// Life implements [Driver].
func (d existing) Life() Life { return Gone }

// Cleanup implements [Driver]. A supervisor that was killed has left its socket.
func (d existing) Cleanup(context.Context) (killed []string, err error) {
	if d.inst.Settings.Host == d.ownHost() {
		return nil, nil // somebody else's
	}
	return nil, relay.RemoveSocket(d.inst.Paths.Socket())
}

// Endpoint implements [Driver]. It reads the context and the configured headers each time:
// the user may change them.
func (d existing) Endpoint() (e endpoint.Endpoint, err error) {
	s := d.inst.Settings
	switch s.FromContext {
	case "":
		e, err = endpoint.FromURL(s.Host, s.TLSOptions())
	case endpoint.DefaultContext: // the system's: variables of a shell do not count
		e, err = endpoint.FromDefault(endpoint.Default{})
	default:
		e, err = endpoint.FromContext(endpoint.OpenStore(d.inst.DockerConfig), s.FromContext)
	}
	e.Headers = endpoint.ConfiguredHeaders(d.inst.DockerConfig)
	return e, err
}

// elsewhere is Endpoint, and refuses one that leads back to the instance.
func (d existing) elsewhere() (endpoint.Endpoint, error) {
	e, err := d.Endpoint()
	if err == nil && e.Host == d.ownHost() {
		err = failure.Refuse("host %q: it leads back to the instance", e.Shown())
	}
	return e, err
}

// connected is somebody else's engine.
type connected struct {
	relaying sync.WaitGroup
	end      context.CancelFunc // ends the relaying
}

// serve relays connections to l to the engine.
func (c *connected) serve(l net.Listener, r relay.Relay) {
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	c.relaying.Go(func() { r.Serve(ctx, l) })
}

// Release implements [Running].
func (c *connected) Release() {
	c.end()
	c.relaying.Wait()
}

// Stop implements [Running].
func (c *connected) Stop(context.Context) ([]string, error) {
	c.Release()
	return nil, nil
}
