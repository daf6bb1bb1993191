package mirror

import (
	"os"
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
	// RemoveTree removes a directory with files that containers may have made; nil:
	// [os.RemoveAll]. Only deletions of a containerd's objects need it.
	RemoveTree func(dir string) error
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
	if c.RemoveTree == nil {
		c.RemoveTree = os.RemoveAll
	}
	cli, err := containerd.New(strings.TrimPrefix(ep.Host, "unix://"))
	if err != nil {
		return nil, err
	}
	return &Containerd{
		Client: cli, files: nerdctlFiles(c.Data), bundles: filepath.Join(c.Run, "io.containerd.runtime.v2.task"),
		rootless: c.Rootless, removeTree: c.RemoveTree, hellos: map[string]chan struct{}{},
	}, nil
}
