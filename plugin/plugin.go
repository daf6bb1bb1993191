// Package plugin makes docker-rd a Docker CLI plugin: its root command, standalone use, signals, and
// how errors become messages and exit statuses.
package plugin

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/docker/cli/cli"
	cliplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/version"
	"github.com/docker-rd/docker-rd/plugin/metadata"
	"github.com/docker-rd/docker-rd/supervisor"
)

// Name is the name under which docker finds the plugin: `docker rd`.
const Name = "rd"

// The process's first thread waits, and does nothing else, see [Main].
func init() { runtime.LockOSThread() }

// Main runs docker-rd with the arguments of the process and exits with its status.
func Main() {
	// The processes that docker-rd starts of itself do not need docker's plugin code.
	engine.RunHelper()

	// Linux hands a signal to the first thread if it can. Where that reads from a file system that
	// hangs, the signal would wait as long.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		supervisor.RunMain()
		run()
	}()
	<-ended
}

// run runs a command.
func run() {
	// A write to a closed pipe is then an error with a status of ours: if a signal ends a plugin,
	// docker exits with 255.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	quietLibraries(os.Stderr)
	os.Args = pluginArgs(os.Args, !cliplugin.RunningStandalone())
	dockerCLI, err := command.NewDockerCli()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(failure.CodeFailed)
	}
	root := newRoot(dockerCLI)
	if err := cliplugin.RunPlugin(dockerCLI, root, metadata.Of(version.Version())); err != nil {
		failed, ours := errors.AsType[cli.StatusError](err)
		if !ours || failed.Cause == nil { // cobra's or docker's
			if _, writing := errors.AsType[*fs.PathError](err); !writing { // an option before the command
				text, _, _ := strings.Cut(err.Error(), "\n")
				err = usage(root, errors.New(text))
			}
			errors.As(status(root, err), &failed)
		}
		fmt.Fprintln(dockerCLI.Err(), failed)
		os.Exit(failed.StatusCode)
	}
}

// quietLibraries prints only warnings of what is logged. Package log, which libraries such as
// net/http use, logs below that level.
func quietLibraries(w io.Writer) {
	slog.SetDefault(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})))
}
