package mirror

import (
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// namespace is the one that a moby engine has.
const namespace = "moby"

// A kind describes a kind of objects to the store.
type kind[T any] struct {
	name state.Kind
	// key returns an object's key, title its name if that is another (may be nil), and meta its
	// revisions.
	key   func(*T) string
	title func(*T) string
	meta  func(*T) *state.Meta
	// keep copies what was recorded on an object to the one that replaces it.
	keep func(old, new *T)
	// fill copies what a list lacks to an object that was only listed.
	fill func(old, new *T)
}

var containers = &kind[state.Container]{
	name:  state.Containers,
	key:   func(c *state.Container) string { return c.ID },
	title: func(c *state.Container) string { return c.Name },
	meta:  func(c *state.Container) *state.Meta { return &c.Meta },
	keep: func(old, new *state.Container) {
		new.Usage, new.Action, new.LastAction, new.Deletion = old.Usage, old.Action, old.LastAction, old.Deletion
	},
	fill: fillContainer,
}

// fillContainer copies the details of the last inspection. If the state has changed since,
// details of the run are left out: they would be another run's.
func fillContainer(old, new *state.Container) {
	new.ImageRef, new.Path, new.Args = old.ImageRef, old.Path, old.Args
	new.Entrypoint, new.Cmd, new.User = old.Entrypoint, old.Cmd, old.User
	new.RestartPolicy, new.CreatedAt = old.RestartPolicy, old.CreatedAt
	new.AutoRemove, new.Limits = old.AutoRemove, old.Limits
	new.PortBindings, new.ExposedPorts = old.PortBindings, old.ExposedPorts
	// Where both overlap, the inspection is better: moby's list lacks the places of anonymous
	// volumes, podman's the published ports.
	inspected := old.RestartPolicy.Name != "" // never in a list
	if inspected {
		new.Mounts = old.Mounts
	}
	if new.State != old.State {
		return
	}
	if inspected {
		new.Ports, new.Networks = old.Ports, old.Networks
	}
	new.PID, new.ExitCode, new.Error = old.PID, old.ExitCode, old.Error
	new.OOMKilled, new.RestartCount = old.OOMKilled, old.RestartCount
	new.StartedAt, new.FinishedAt = old.StartedAt, old.FinishedAt
	new.HealthCheck = old.HealthCheck
	if new.Health == "" {
		new.Health = old.Health
	}
}

var images = &kind[state.Image]{
	name: state.Images,
	key:  func(i *state.Image) string { return i.ID },
	meta: func(i *state.Image) *state.Meta { return &i.Meta },
	keep: func(old, new *state.Image) { new.Usage, new.Deletions = old.Usage, old.Deletions },
	// What never changes in an image.
	fill: func(old, new *state.Image) {
		if new.Architecture == "" && new.OS == "" {
			new.Architecture, new.Variant, new.OS = old.Architecture, old.Variant, old.OS
			new.LayerCount, new.ExposedPorts, new.Volumes = old.LayerCount, old.ExposedPorts, old.Volumes
		}
		if new.CreatedAt.Equal(old.CreatedAt.Truncate(time.Second)) {
			new.CreatedAt = old.CreatedAt
		}
	},
}

// The lists of volumes and networks are complete.

var volumes = &kind[state.Volume]{
	name: state.Volumes,
	key:  func(v *state.Volume) string { return v.Name },
	meta: func(v *state.Volume) *state.Meta { return &v.Meta },
	keep: func(old, new *state.Volume) { new.Usage, new.Deletion = old.Usage, old.Deletion },
	fill: func(_, _ *state.Volume) {},
}

var networks = &kind[state.Network]{
	name: state.Networks,
	key:  func(n *state.Network) string { return n.ID },
	meta: func(n *state.Network) *state.Meta { return &n.Meta },
	keep: func(old, new *state.Network) { new.Deletion = old.Deletion },
	fill: func(_, _ *state.Network) {},
}

var namespaces = &kind[state.Namespace]{
	name: state.Namespaces,
	key:  func(n *state.Namespace) string { return n.Name },
	meta: func(n *state.Namespace) *state.Meta { return &n.Meta },
	keep: func(_, _ *state.Namespace) {},
	fill: func(_, _ *state.Namespace) {},
}
