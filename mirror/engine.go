package mirror

import (
	"context"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Engine is a connection to an engine that can be mirrored: a [Moby] or a [Containerd]. It hides
// what differs between kinds of engines from sessions, the queue and the store.
type Engine interface {
	// Ping returns nil where an engine of this kind answers.
	Ping(ctx context.Context) error
	// Close ends the connection, after all calls have ended.
	Close() error

	// resources returns the kinds of objects that the engine lists.
	resources() []*resource
	// facts asks the engine what it is. The session began at the given moment, and a ping may
	// take that long.
	facts(ctx context.Context, began time.Time, ping time.Duration) (state.Engine, error)
	// replays reports whether watch also marks what events have changed since the session
	// began. If not, everything is listed afterwards.
	replays() bool
	// watch marks in the intake what events change, until ctx ends or the returned channel
	// receives an error. It returns when no event can be missed any more, or after the
	// timeout. It starts goroutines by run.
	watch(ctx context.Context, timeout time.Duration, in *intake, run func(func())) (ended <-chan error, err error)
	// catchUp marks everything that the engine has done before the call; sure is false if it
	// can't know whether that is complete.
	catchUp(ctx context.Context, in *intake) (sure bool, err error)
}

// A resource lists and inspects the objects of a kind.
type resource struct {
	kind state.Kind
	// list lists all objects.
	list func(ctx context.Context) ([]any, error)
	// inspect returns one object; of an image only what the list lacks. It may be nil if listsAll.
	inspect func(ctx context.Context, id string) (any, error)
	// details says that the list lacks fields, so that each object is inspected.
	details bool
	// listsAll says that only the list is complete, so that the kind is listed when one of its objects is
	// dirty. It has the names of an image; an inspected network may differ: of a swarm's, it is the
	// part on this node; podman's default one has another name.
	listsAll bool
}

// listedNamespace returns a list function for an engine with one implicit namespace.
func listedNamespace(name string) func(context.Context) ([]any, error) {
	return func(context.Context) ([]any, error) { return []any{state.Namespace{Name: name}}, nil }
}
