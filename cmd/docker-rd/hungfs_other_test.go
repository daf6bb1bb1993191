//go:build unix && !linux

package main

// hungFS is for Linux.
func hungFS() { panic("not on this system") }
