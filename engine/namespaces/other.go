//go:build !linux

package namespaces

// RunHelper does nothing on this system.
func RunHelper() {}
