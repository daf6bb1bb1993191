package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/docker-rd/docker-rd/engine/dockerd"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// A Driver runs the engine of one instance.
type Driver interface {
	// Check returns what stands against starting the engine here, all at once, each with a
	// hint how to mend it. It changes nothing.
	Check() []error

	// Adopt returns the instance's engine where it runs already, nil otherwise.
	Adopt(ctx context.Context) (Running, error)

	// Start launches the engine and returns as soon as it has a process: the API may
	// not answer yet. An engine that runs already is [ErrRunning], to be adopted.
	// After any other error nothing is left running.
	Start(ctx context.Context) (Running, error)

	// Alive reports whether the engine runs, with or without a supervisor. It is cheap.
	// For an engine that is not ours it is false.
	Alive() bool

	// Remains reports whether anything of the engine runs, be it only what a crash has left
	// of it. It is cheap. For an engine that is not ours it is false.
	Remains() bool

	// Endpoint returns how the engine's API is reached.
	Endpoint() (endpoint.Endpoint, error)

	// LocalHost returns the URL of a socket or pipe of this machine that leads to the
	// engine while it runs, for programs that can dial nothing else; "" if there is none.
	LocalHost() (string, error)

	// Cleanup ends and removes whatever a crash has left of the instance's engine, and
	// returns when that is gone. When ctx ends before, its error says what is left. It may
	// be called whenever no supervisor runs the engine, and any number of times.
	Cleanup(ctx context.Context) error
}

// ErrRunning says that there is nothing to start: the engine runs.
var ErrRunning = dockerd.ErrRunning

// Running is an engine that a driver has started or adopted.
type Running interface {
	// PID returns the engine's process, 0 if it is not ours.
	PID() int
	// StartedAt returns when the engine's process started; zero if it is not ours.
	StartedAt() time.Time
	// Exited is closed when the engine's process has ended; nil if it is not ours.
	Exited() <-chan struct{}
	// LastError returns the engine's own last words since it was started, "" if it
	// said nothing of an error.
	LastError() string
	// Problems returns what does not work of the engine though it may answer, a sentence
	// each, and a channel that is closed when that changes; nil if it is not ours.
	Problems() (list []string, changed <-chan struct{})
	// Release ends the goroutines that look after the engine, and waits for them. The
	// engine, if it runs, goes on, and the value must not be used any more. To be called
	// for an engine that has ended by itself, before another is started.
	Release()
	// Stop ends the engine and everything that it started, gracefully until ctx
	// ends and then by force. It returns when all is gone, with the ids of the containers
	// that did not end by themselves and were killed. An engine that is not ours is left
	// alone.
	Stop(ctx context.Context) (killed []string, err error)
}

// DriverFor returns the driver for the instance's settings. It logs to log, which may
// be nil.
func DriverFor(i *instance.Instance, log *slog.Logger) (Driver, error) {
	switch i.Settings.Driver {
	case instance.DriverDockerd, instance.DriverRootless:
		return newDockerd(i, log)
	case instance.DriverExisting:
		return existing{i, log}, nil
	}
	// Written by another version.
	return nil, failure.Refuse("instance %q: driver %q is not one that this version has", i.Name, i.Settings.Driver)
}
