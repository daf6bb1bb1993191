package commands

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
)

// mend puts right what a crash left of a promotion in a Docker configuration: the
// current context must not be one of ours whose engine is gone for good. It says what
// it did, and why something could not be done. Neither keeps a command from its work.
func (a *app) mend(ctx context.Context, dir string) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return // the command itself says so
	}
	out := dockercontext.Open(contexts.Options(roots, dir)).Mend(ctx)
	switch {
	case out.Err != nil:
		a.warn("what was current before could not be put back: %v", out.Err)
	case out.Changed:
		a.note("%s", out.Message)
	}
}
