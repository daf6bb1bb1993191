package mirror

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// A Connector connects to the engine of an instance.
type Connector struct {
	// Endpoint returns where the engine is at that time.
	Endpoint func() (endpoint.Endpoint, error)
	// Rootless says that an own engine is an ordinary user's; others say that themselves.
	Rootless bool
	// Containerd says that the engine is a containerd on a unix socket, not one that speaks
	// Docker's API. Data is the directory of nerdctl's files and networks, Run that of
	// containerd's own files, which end with it.
	Containerd bool
	Data, Run  string
	// Host is needed to delete volumes and networks of a containerd.
	Host Host
}

// A Host does with an engine's files and interfaces what can only be done in its namespaces.
type Host interface {
	// RemoveTree removes a directory with its contents, which containers may have made as other
	// users.
	RemoveTree(dir string) error
	// RemoveBridge removes the bridge of a name, if there is one, from the running engine's network
	// namespace.
	RemoveBridge(ctx context.Context, name string) error
}

// Connect returns a connection to the engine, which need not answer yet. It does not wait. The
// caller closes the connection.
func (c Connector) Connect() (Engine, error) {
	ep, err := c.Endpoint()
	if err != nil {
		return nil, err
	}
	if !c.Containerd {
		cli, err := ep.Client()
		if err != nil {
			return nil, err
		}
		return &Moby{Client: cli, rootless: c.Rootless, checks: map[string]bool{}}, nil
	}
	cli, err := containerd.New(strings.TrimPrefix(ep.Host, "unix://"))
	if err != nil {
		return nil, err
	}
	return &Containerd{
		Client: cli, files: nerdctlFiles(c.Data), bundles: filepath.Join(c.Run, "io.containerd.runtime.v2.task"),
		rootless: c.Rootless, host: c.Host, hellos: map[string]chan struct{}{},
	}, nil
}
