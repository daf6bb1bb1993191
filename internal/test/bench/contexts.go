//go:build linux

package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
)

// contexts compares `docker-rd context promote` with nothing to do with `docker context
// show` of the docker on the PATH: all that it does more, a probe included, shall not be
// felt.
func (b *bench) contexts(ctx context.Context) (err error) {
	h, err := b.newHome("c")
	if err != nil {
		return err
	}
	socket := filepath.Join(b.dir, "c.sock")
	engine, err := fakeengine.Start(socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if _, err := h.time(ctx, "docker", "context", "create", "works", "--docker", "host=unix://"+socket); err != nil {
		return err
	}
	// Whatever fails later, no supervisor is left.
	defer func() {
		_, stopErr := h.rd(context.WithoutCancel(ctx), "stop")
		err = errors.Join(err, stopErr)
	}()
	if _, err := h.rd(ctx, "start", "--driver", "existing", "--host", "unix://"+socket, "--promote", "never"); err != nil {
		return err
	}
	for _, current := range []struct{ name, what string }{
		{"rd", "promote, current already / docker context show"},
		{"works", "promote, the current one works / docker context show"},
	} {
		if _, err := h.time(ctx, "docker", "context", "use", current.name); err != nil {
			return err
		}
		times, err := inTurns(8*b.rounds, // they are short
			func() (time.Duration, error) { return promote(ctx, h) },
			func() (time.Duration, error) { return h.time(ctx, "docker", "context", "show") })
		if err != nil {
			return err
		}
		b.table.ratio(current.what, times[0], times[1], 1)
	}
	return nil
}

// promote runs `docker-rd context promote`. A current context that stays is no failure here.
func promote(ctx context.Context, h *home) (time.Duration, error) {
	took, err := h.rd(ctx, "context", "promote")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 3 {
		err = nil
	}
	return took, err
}
