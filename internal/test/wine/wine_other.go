//go:build !windows

package wine

const windows = false

// Is reports whether this Windows is wine.
func Is() bool { return false }
