// Package version identifies the docker-rd that runs.
package version

import (
	"cmp"
	"runtime/debug"

	"github.com/docker-rd/docker-rd/internal/version/release"
)

// Version returns the release, or the version in the build info.
func Version() string {
	if release.Version != "" {
		return release.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.0.0-dev"
}

// Commit returns the commit, "" if it is not known.
func Commit() string { return cmp.Or(release.Commit, setting("vcs.revision")) }

// Date returns the date of the commit in RFC 3339, "" if it is not known. The time of the build
// would make each build different.
func Date() string { return cmp.Or(release.Date, setting("vcs.time")) }

// setting returns a setting in the build info.
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
