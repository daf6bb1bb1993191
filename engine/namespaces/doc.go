// Package namespaces gives an engine's daemon namespaces of its own, on Linux: it starts the
// daemon in them, connects its network to the outside with slirp4netns, and covers the
// paths that it would share with others by private versions.
package namespaces
