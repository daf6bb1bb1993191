package endpoint

import (
	"path/filepath"

	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
)

// OpenStore returns docker's context store of a Docker configuration directory.
// Nothing is read yet. Metadata is untyped: docker's own type panics on a
// Description that is no string.
func OpenStore(configDir string) *store.ContextStore {
	return store.New(filepath.Join(configDir, "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(docker.DockerEndpoint, func() any { return &docker.EndpointMeta{} }),
	))
}
