// Package version identifies the docker-rd that runs.
package version

import (
	"cmp"
	"runtime/debug"
)

// Set by the linker (see the Makefile).
var version, commit, date string

// Version returns the release, or what the go command knows of the build.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.0.0-dev"
}

// Commit returns the commit that was built, "" if that is not known.
func Commit() string { return cmp.Or(commit, setting("vcs.revision")) }

// Date returns when that commit was made, in RFC 3339, "" if that is not known. The time of
// the build would make each build another.
func Date() string { return cmp.Or(date, setting("vcs.time")) }

// setting returns what the go command knows of the build.
func setting(key string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
