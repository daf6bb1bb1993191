package mirror

import "github.com/docker-rd/docker-rd/mirror/state"

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
}

var containers = &kind[state.Container]{
	name:  state.Containers,
	key:   func(c *state.Container) string { return c.ID },
	title: func(c *state.Container) string { return c.Name },
	meta:  func(c *state.Container) *state.Meta { return &c.Meta },
	keep: func(old, new *state.Container) {
		new.Usage, new.Action, new.LastAction, new.Deletion = old.Usage, old.Action, old.LastAction, old.Deletion
	},
}

var images = &kind[state.Image]{
	name: state.Images,
	key:  func(i *state.Image) string { return i.ID },
	meta: func(i *state.Image) *state.Meta { return &i.Meta },
	keep: func(old, new *state.Image) { new.Usage, new.Deletions = old.Usage, old.Deletions },
}

var volumes = &kind[state.Volume]{
	name: state.Volumes,
	key:  func(v *state.Volume) string { return v.Name },
	meta: func(v *state.Volume) *state.Meta { return &v.Meta },
	keep: func(old, new *state.Volume) { new.Usage, new.Deletion = old.Usage, old.Deletion },
}

var networks = &kind[state.Network]{
	name: state.Networks,
	key:  func(n *state.Network) string { return n.ID },
	meta: func(n *state.Network) *state.Meta { return &n.Meta },
	keep: func(old, new *state.Network) { new.Deletion = old.Deletion },
}

var namespaces = &kind[state.Namespace]{
	name: state.Namespaces,
	key:  func(n *state.Namespace) string { return n.Name },
	meta: func(n *state.Namespace) *state.Meta { return &n.Meta },
	keep: func(_, _ *state.Namespace) {},
}
