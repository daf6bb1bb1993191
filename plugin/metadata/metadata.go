// Package metadata tells docker what the plugin is. Docker asks each plugin at almost every command
// of its own, and waits for the answer. A release answers while it is initialized, before the
// packages that commands need: Go initializes packages in the order of their import paths, as far as
// their own imports allow (The Go Programming Language Specification, "Program initialization").
// So this package imports little.
package metadata

import (
	"encoding/json"
	"os"

	"github.com/docker/cli/cli-plugins/metadata"

	"github.com/docker-rd/docker-rd/internal/version/release"
)

// Of returns the metadata of the plugin of that version.
func Of(version string) metadata.Metadata {
	return metadata.Metadata{
		SchemaVersion:    "0.1.0",
		Vendor:           "docker-rd",
		Version:          version,
		ShortDescription: "Your own Docker engines, by name",
		URL:              "https://github.com/docker-rd/docker-rd",
	}
}

// Other builds learn their version from the build info, which is initialized late. They leave the
// answer to docker's code.
func init() {
	if release.Version == "" || len(os.Args) != 2 || os.Args[1] != metadata.MetadataSubcommandName {
		return
	}
	if err := json.NewEncoder(os.Stdout).Encode(Of(release.Version)); err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}
