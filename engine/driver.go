package engine

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
)

// A Driver runs the engine of one instance.
type Driver interface {
	// Check returns everything that prevents a start of the engine here, each with a hint. It
	// changes nothing.
	Check() []error

	// Adopt returns the instance's engine if it runs already, else nil.
	Adopt(ctx context.Context) (Running, error)

	// Start launches the engine and returns as soon as it has a process: the API may not
	// answer yet. If the engine runs already, the error is [ErrRunning]: adopt it. After any
	// other error nothing is left running.
	Start(ctx context.Context) (Running, error)

	// Life returns how much of the engine runs here. It is cheap. An engine that is not
	// ours is [Gone].
	Life() Life

	// Endpoint returns how the engine's API is reached.
	Endpoint() (endpoint.Endpoint, error)

	// LocalHost returns the URL of a socket or pipe of this machine that leads to the
	// engine while it runs, for programs that can dial nothing else; "" if there is none.
	LocalHost() (string, error)

	// Cleanup ends and removes whatever is left of the instance's engine, and returns when
	// that is done, with the ids of the containers that it killed. If ctx ends first, the
	// error says what is left. It may be called whenever no supervisor runs the engine, any
	// number of times.
	Cleanup(ctx context.Context) (killed []string, err error)
}

// LocalSocket returns the path of the unix socket of this machine that leads to a driver's
// engine, "" if there is none.
func LocalSocket(d Driver) string {
	host, err := d.LocalHost()
	socket, ok := strings.CutPrefix(host, "unix://")
	if err != nil || !ok {
		return ""
	}
	return socket
}

// ownSocket is the socket of an engine of ours. It implements the part of [Driver] that says where
// the engine is reached.
type ownSocket string

// Endpoint implements [Driver].
func (s ownSocket) Endpoint() (endpoint.Endpoint, error) {
	return endpoint.Endpoint{Host: "unix://" + string(s)}, nil
}

// LocalHost implements [Driver].
func (s ownSocket) LocalHost() (string, error) { return "unix://" + string(s), nil }

// ErrRunning says that the engine runs already.
var ErrRunning = processes.ErrRunning

// Life is how much of an engine runs: [Gone], [Leftovers] or [Alive].
type Life = processes.Life

const (
	Gone      = processes.Gone
	Leftovers = processes.Leftovers
	Alive     = processes.Alive
)

// Running is an engine that a driver has started or adopted. Where it is a process of ours,
// it is a [Process] too.
type Running = processes.Running

// A Process is a running engine that is a process of ours.
type Process = processes.Process

// A Problem is something that does not work in a running engine.
type Problem = processes.Problem

// DriverFor returns the driver for the instance's settings. It logs to log, which may be nil.
func DriverFor(i *instance.Instance, log *slog.Logger) (Driver, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	switch i.Settings.Driver {
	case instance.DriverDockerd, instance.DriverRootless:
		return newIsolated(i, log)
	case instance.DriverExisting:
		return existing{i, log}, nil
	case instance.DriverLima:
		return newLima(i, log), nil
	}
	// Written by another version.
	return nil, failure.Refuse("instance %q: driver %q is not one that this version has", i.Name, i.Settings.Driver)
}

// What only some drivers can do is no method of [Driver]: the functions below ask whether the
// instance's driver has it.

func optional[T any](i *instance.Instance) (driver T, ok bool, err error) {
	d, err := DriverFor(i, nil)
	driver, ok = d.(T)
	return driver, ok, err
}

// Lacks returns what the instance's engine can't do here, each with a hint.
func Lacks(i *instance.Instance) []error {
	if d, ok, _ := optional[interface{ Lacks() []error }](i); ok {
		return d.Lacks()
	}
	return nil
}

// SSH returns the arguments by which ssh logs in to the virtual machine of the instance's engine,
// nil if it has none.
func SSH(i *instance.Instance) []string {
	if d, ok, _ := optional[interface{ SSH() []string }](i); ok {
		return d.SSH()
	}
	return nil
}

// SetLimits limits the instance's engine, if it runs, as the settings of i say, whatever those
// on disk are. Other drivers' have no control groups of ours.
func SetLimits(i *instance.Instance) error {
	d, ok, err := optional[interface {
		Life() Life
		SetLimits() error
	}](i)
	if !ok || d.Life() != Alive {
		return err
	}
	if err := d.SetLimits(); err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return nil
}

// RemoveData removes what is not below a stopped instance's directories, and those data of its engine
// that the user can't remove: containers have made files as other users.
// [instance.Instance.Remove] removes the rest.
func RemoveData(i *instance.Instance) error {
	d, ok, err := optional[interface{ RemoveData() error }](i)
	if ok {
		err = d.RemoveData()
	}
	if err != nil {
		return fmt.Errorf("remove instance %q: %w", i.Name, err)
	}
	return nil
}
