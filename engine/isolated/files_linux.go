package isolated

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
)

// A mount on a file ends, in every mount namespace, when the file is removed or another is
// renamed over it. Network managers do that to resolv.conf.

const (
	// dockerSock is the socket that programs in containers expect to be mounted.
	dockerSock = "/run/docker.sock"
	// hostResolvConf is where dockerd finds its name servers.
	hostResolvConf = "/etc/resolv.conf"
)

// filesInterval is how often files of the host are looked at that can't be watched.
const filesInterval = 10 * time.Second

// keepFiles makes the engine's /run and resolv.conf follow the host's until ctx ends.
func (e *Engine) keepFiles(ctx context.Context) {
	watch := dirwatch.FollowAll(watchedDirs, filesInterval, func(cause error) {
		e.cfg.Log.WarnContext(ctx, "the host's /run and resolv.conf can't be watched, and are looked at now and then", "error", cause)
	})
	defer watch.Close()
	for {
		if err := e.syncFiles(ctx); err != nil && ctx.Err() == nil && e.ID().Alive() {
			e.cfg.Log.WarnContext(ctx, "the engine sees a former state of the host's /run or resolv.conf", "error", err)
		}
		if watch.Wait(ctx) != nil {
			return
		}
	}
}

// watchedDirs are the directories of files that the host may replace, with those of all links that
// lead to resolv.conf, which may be missing: the host's resolver may start later.
func watchedDirs() []string {
	dirs := []string{filepath.Dir(dockerSock)}
	const chain = 40 // as many links as the kernel follows
	for path := hostResolvConf; len(dirs) <= chain; {
		dir := filepath.Dir(path)
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		dirs = append(dirs, nearest(dir))
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if path = target; !filepath.IsAbs(target) {
			path = filepath.Join(dir, target)
		}
	}
	return dirs
}

// syncFiles does so once. It begins with /run, which may contain resolv.conf.
func (e *Engine) syncFiles(ctx context.Context) error {
	if err := e.cfg.writeResolvConf(e.rec.Subnets); err != nil {
		return err
	}
	if err := e.cfg.run().Sync(e.ID()); err != nil {
		return err
	}
	if e.cfg.rootless() {
		return nil // the host can't replace what is in the engine's own /etc
	}
	return e.cfg.namespaces().Rebind(ctx, e.ID(), []namespaces.Bind{{Source: e.cfg.private(resolvConf), Target: hostResolvConf, Optional: true}})
}
