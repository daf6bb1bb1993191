package mirror

import (
	"context"
	"time"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Engine is a connection to an engine that can be mirrored: [Moby].
//
// What differs between kinds of engines is behind it. Sessions, the queue and the store are
// the same for all.
type Engine interface {
	// Ping returns nil where an engine of this kind answers.
	Ping(ctx context.Context) error
	// Close ends the connection, after all calls have ended.
	Close() error

	// resources returns what is listed.
	resources() []*resource
	// facts asks the engine what it is. The session began at the given moment.
	facts(ctx context.Context, began time.Time) (state.Engine, error)
	// watch has the engine's events marked in the intake, those since the session began
	// included, until ctx ends or the returned channel gets the reason why that has ended.
	// It returns when nothing can be missed any more, or after the timeout. What it starts
	// is started by run.
	watch(ctx context.Context, timeout time.Duration, in *intake, run func(func())) (ended <-chan error, err error)
	// catchUp has marked all that the engine has done before the call when it returns. Where
	// it can't say whether that is all, sure is false.
	catchUp(ctx context.Context, in *intake) (sure bool, err error)
}

// A resource is how a kind is asked for at the engine.
type resource struct {
	kind state.Kind
	// list lists all objects.
	list func(ctx context.Context) ([]any, error)
	// inspect looks at one object; of an image it tells only what the list does not.
	inspect func(ctx context.Context, id string) (any, error)
	// details says that the list lacks some, so that each object is inspected.
	details bool
	// listsAll says that only the list tells all: of an image its names; of networks the
	// inspection may tell something else, of a swarm's the part on this node, of podman's
	// default network another name.
	listsAll bool
	// amend corrects a listed object; nil for no need to.
	amend func(any) any
}

// listedNamespace returns what lists the namespaces of an engine that has one and no word for it.
func listedNamespace(name string) func(context.Context) ([]any, error) {
	return func(context.Context) ([]any, error) { return []any{state.Namespace{Name: name}}, nil }
}
