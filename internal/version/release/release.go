// Package release holds what the linker knows of a build (see the Makefile). It imports nothing.
package release

// The version, the commit, and the date of the commit in RFC 3339. All are "" in a build without
// the linker's settings.
var Version, Commit, Date string
