package engine

import (
	"context"
	"time"

	"github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// existing adopts an engine that somebody else runs: start connects, stop
// disconnects, and the engine is left alone.
type existing struct{ inst *instance.Instance }

// Check implements [Driver]. Whether the engine answers is found out by connecting.
func (d existing) Check() error {
	_, err := d.Endpoint()
	if name := d.inst.Settings.FromContext; errdefs.IsNotFound(err) {
		return failure.WithHint(failure.Refuse("context %q does not exist in %q", name, d.inst.DockerConfig),
			"docker context ls lists the contexts")
	}
	return err
}

// Adopt implements [Driver]. There is nothing that a crash could have left.
func (d existing) Adopt(context.Context) (Running, error) { return nil, nil }

// Start implements [Driver].
func (d existing) Start(context.Context) (Running, error) { return connected{}, nil }

// Alive implements [Driver].
func (d existing) Alive() bool { return false }

// Remains implements [Driver].
func (d existing) Remains() bool { return false }

// Cleanup implements [Driver].
func (d existing) Cleanup(context.Context) error { return nil }

// Endpoint implements [Driver]. A context and the configured headers are read anew each
// time: they are the user's and may be changed.
func (d existing) Endpoint() (e endpoint.Endpoint, err error) {
	s := d.inst.Settings
	switch s.FromContext {
	case "":
		e, err = endpoint.FromURL(s.Host, s.TLSOptions())
	case endpoint.DefaultContext: // of the system: no shell's variables count here
		e, err = endpoint.FromDefault(endpoint.Default{})
	default:
		e, err = endpoint.FromContext(endpoint.OpenStore(d.inst.DockerConfig), s.FromContext)
	}
	e.Headers = endpoint.ConfiguredHeaders(d.inst.DockerConfig)
	return e, err
}

// connected is somebody else's engine.
type connected struct{}

func (connected) PID() int                   { return 0 }
func (connected) StartedAt() time.Time       { return time.Time{} }
func (connected) Exited() <-chan struct{}    { return nil }
func (connected) LastError() string          { return "" }
func (connected) Release()                   {}
func (connected) Stop(context.Context) error { return nil }
