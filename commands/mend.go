package commands

import (
	"context"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
)

// mend puts right what a crash left of a promotion in a Docker configuration: the
// current context must not be one of ours whose engine is gone for good. It says what
// it did, and returns why something could not be done, which `context doctor` tells too.
func (a *app) mend(ctx context.Context, dir string) error {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return err
	}
	out := dockercontext.Open(contexts.Options(roots, dir)).Mend(ctx,
		func(o dockercontext.Owner) bool { return contexts.Gone(roots, o) },
		func() []dockercontext.Owner { return contexts.Successors(dir) })
	if out.Changed {
		a.note("%s", out.Message)
	}
	return out.Err
}
