package processes

import (
	"context"
	"errors"

	"github.com/docker-rd/docker-rd/internal/process"
)

// ErrRunning says that an engine runs already: it can be adopted.
var ErrRunning = errors.New("the engine is running already")

// Life is how much of an engine runs.
type Life int

const (
	Gone      Life = iota // nothing
	Leftovers             // some of its processes, but not the engine itself
	Alive                 // the engine, with or without a supervisor
)

// Running is an engine that a driver has started or adopted. Where it is a process of ours,
// it is a [Process] too.
type Running interface {
	// Release ends the goroutines that watch the engine, and waits for them. An engine that
	// runs goes on. The value must not be used afterwards. Call it too for an engine that has
	// ended by itself, before the next start.
	Release()
	// Stop ends the engine and everything that it started, gracefully until ctx ends, then by
	// force. It returns when all is gone, with the ids of the containers that had to be
	// killed. An engine that is not ours goes on.
	Stop(ctx context.Context) (killed []string, err error)
}

// A Process is a running engine that is a process of ours.
type Process interface {
	Running
	ID() process.ID
	// Exited is closed when the process has ended.
	Exited() <-chan struct{}
	// LastError returns the last error that the engine itself has reported since it was
	// started, "" if there is none.
	LastError() string
	// Problems returns what does not work although the engine may answer, and a channel that is
	// closed when they change.
	Problems() (list []Problem, changed <-chan struct{})
}
