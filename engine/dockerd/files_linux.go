package dockerd

import (
	"context"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/process"
)

// A mount on a file ends, in every mount namespace, when the file is removed or another is
// renamed over it. The host's dockerd does that to its socket when it starts and ends, and
// network managers do it to resolv.conf.

const (
	// dockerSock is the socket that programs in containers expect to be mounted.
	dockerSock = "/run/docker.sock"
	// hostResolvConf is where dockerd finds its name servers.
	hostResolvConf = "/etc/resolv.conf"
)

// absence is how long docker.sock must be missing before another is made: a dockerd that
// starts removes the old one right before it makes its own.
const absence = 2 * time.Second

// keepFiles puts the engine's own files where the host has its own, in the engine's mount
// namespace, and does so again whenever the host replaces them. It returns when it can't,
// or ctx or the engine ends.
func (e *Engine) keepFiles(ctx context.Context) error {
	if err := e.awaitSocket(ctx); err != nil {
		return err
	}
	for {
		watch, watchErr := dirwatch.New(watchedDirs()...) // before the look: nothing is missed
		if err := e.bindFiles(); err != nil && ctx.Err() == nil && e.id.Alive() {
			e.cfg.log().WarnContext(ctx, "docker.sock or resolv.conf is the host's", "error", err)
		}
		if watchErr != nil {
			return watchErr
		}
		err := watch.Wait(ctx)
		watch.Close()
		if err != nil {
			return err
		}
		if exists(dockerSock) {
			continue
		}
		select {
		case <-time.After(absence):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitSocket returns when dockerd has made its socket, which it does early.
func (e *Engine) awaitSocket(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !exists(e.cfg.Socket) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.exited:
			return process.ErrGone
		case <-tick.C:
		}
	}
	return nil
}

// watchedDirs are where the files are that the host may replace.
func watchedDirs() []string {
	dirs := []string{filepath.Dir(dockerSock), filepath.Dir(hostResolvConf)}
	if path, err := filepath.EvalSymlinks(hostResolvConf); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// bindFiles mounts those of the engine's own files that are not in their place.
func (e *Engine) bindFiles() error {
	if err := e.cfg.writeResolvConf(e.subnets); err != nil {
		return err
	}
	return e.cfg.namespaces().Rebind(e.id, []namespaces.Bind{
		// docker run -v /var/run/docker.sock:… means the engine that runs the container.
		{Source: e.cfg.Socket, Target: dockerSock, MakeSocket: true},
		{Source: e.cfg.private(resolvConf), Target: hostResolvConf, Optional: true},
	})
}
