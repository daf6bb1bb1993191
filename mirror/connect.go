package mirror

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Connector returns what connects to an engine of a kind, wherever that is by then. Data and run
// are the directories of what an own engine keeps, and of what ends with it. Rootless says that an own
// engine is an ordinary user's; others say that themselves.
func Connector(kind, data, run string, rootless bool, where func() (endpoint.Endpoint, error)) func(context.Context) (Engine, error) {
	return func(ctx context.Context) (Engine, error) {
		ep, err := where()
		if err != nil {
			return nil, err
		}
		if socket, ok := strings.CutPrefix(ep.Host, "unix://"); ok && kind == state.KindContainerd {
			return ConnectContainerd(ContainerdOptions{Socket: socket, Data: data, State: filepath.Join(run, "containerd"), Rootless: rootless})(ctx)
		}
		m, err := ConnectMoby(func(context.Context) (*endpoint.Client, error) { return ep.Client() })(ctx)
		if own, ok := m.(*Moby); ok {
			own.rootless = rootless
		}
		return m, err
	}
}
