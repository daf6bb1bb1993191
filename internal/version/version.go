// Package version tells which docker-rd this is.
package version

import "runtime/debug"

// version is set by the linker in a release build.
var version string

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
