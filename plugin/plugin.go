// Package plugin makes docker-rd a Docker CLI plugin: its metadata, its root
// command, standalone use, signals, and how errors become messages and exit
// statuses.
package plugin

import (
	"io"
	"log/slog"
	"os"

	"github.com/docker/cli/cli-plugins/metadata"
	cliplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/version"
	"github.com/docker-rd/docker-rd/supervisor"
)

// Name is the name under which docker finds the plugin: `docker rd`.
const Name = "rd"

// Main runs docker-rd with the arguments of the process and exits with its status.
func Main() {
	// The processes that docker-rd starts of itself do not need docker's plugin code.
	engine.RunHelper()
	supervisor.RunMain()

	quietLibraries(os.Stderr)
	if cliplugin.RunningStandalone() {
		os.Args = standaloneArgs(os.Args)
	}
	cliplugin.Run(func(cli command.Cli) *cobra.Command { return newRoot(cli) }, metadata.Metadata{
		SchemaVersion:    "0.1.0",
		Vendor:           "docker-rd",
		Version:          version.Version(),
		ShortDescription: "Your own Docker engines, by name",
		URL:              "https://github.com/docker-rd/docker-rd",
	})
}

// quietLibraries prints only warnings of what is logged. Package log, which libraries such as
// net/http use, logs below that level.
func quietLibraries(w io.Writer) {
	slog.SetDefault(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})))
}
