package commands

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance/contexts"
)

// repair repairs what a crash has left of a promotion in a Docker configuration: the current
// context must not be one of ours whose engine is gone for good. It only notes what it did
// or could not do.
func (a *app) repair(ctx context.Context, dir string) {
	o, err := contexts.Options(dir)
	if err != nil {
		return // the command itself says so
	}
	out := dockercontext.Open(o).Repair(ctx)
	switch {
	case out.Err != nil:
		a.warn("the previous context could not be put back: %v", out.Err)
	case out.Changed:
		a.note("%s", out.Message)
	}
}
