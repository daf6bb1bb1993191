//go:build !linux

package engine

// mountsBelow returns the mount points below dir: none, since the drivers of this
// system mount nothing and removal does not follow links.
func mountsBelow(string) ([]string, error) { return nil, nil }
