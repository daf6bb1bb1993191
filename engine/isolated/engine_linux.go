package isolated

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/internal/process"
)

// An Engine is a running engine, or one that has ended.
type Engine struct {
	cfg     Config
	exited  chan struct{}
	endedBy func() syscall.Signal // what has ended it; nil where it is adopted, and nobody knows
	adopted bool
	host    netip.Addr // what host-gateway leads to

	rec      engineFile
	problems processes.Problems

	cancel   context.CancelFunc // ends the watchers
	watchers sync.WaitGroup
}

// Adopt returns the running engine that another process has started, nil if there is none. It
// starts companions again that have ended meanwhile.
func (c *Config) Adopt(ctx context.Context) (processes.Running, error) {
	rec := c.readEngineFile()
	if !rec.Engine.Alive() {
		// The record may be lost, or older than the engine; its processes tell.
		f, err := c.processes().Scan(processes.Hierarchies{})
		if err != nil {
			return nil, err
		}
		if f.Daemon == nil {
			return nil, nil
		}
		rec.UID, rec.Engine = c.UID, f.Daemon.ID
		if !rec.Subnets.Slirp.IsValid() {
			rec.Subnets = namespaces.ChooseSubnets(nil, nil, namespaces.Subnets{})
		}
		if err := c.writeEngineFile(rec); err != nil {
			return nil, err
		}
	}
	if !c.runs(rec.Engine) {
		return nil, nil
	}
	if err := os.MkdirAll(c.private(staging), 0o700); err != nil {
		return nil, err
	}
	e := &Engine{cfg: *c, rec: rec, exited: make(chan struct{}), adopted: true}
	all, err := processes.All(c.UID)
	if err != nil {
		return nil, err
	}
	ids := make([]process.ID, len(companions))
	for i, companion := range companions {
		if ids[i] = among(all, companion.is); ids[i] != (process.ID{}) {
			continue
		}
		// Without it everything else works. Its watcher tries again and reports the problem.
		if ids[i], err = companion.start(ctx, e); err != nil {
			c.Log.WarnContext(ctx, companion.lack, "error", err)
		}
	}
	e.watch(ids)
	return e, nil
}

// ID implements [processes.Process].
func (e *Engine) ID() process.ID { return e.rec.Engine }

// Exited implements [processes.Process]. Processes that the engine started may still run: Start or
// Cleanup end them.
func (e *Engine) Exited() <-chan struct{} { return e.exited }

// LastError returns, as one line, the last error that the engine itself has reported since it
// was started, or "". For an engine that has ended that is the reason, unless a signal has ended it.
func (e *Engine) LastError() string {
	select {
	case <-e.exited:
		return e.cfg.lastWords(e.endedBy, e.rec.LogOffset)
	default:
		return e.cfg.lastError(e.rec.LogOffset)
	}
}

// lastWords says why an engine has ended that was started at the offset of its log.
func (c *Config) lastWords(endedBy func() syscall.Signal, offset int64) string {
	return cmp.Or(endWords(endedBy), c.lastError(offset))
}

// lastError returns the last error in the engine's log from the offset on.
func (c *Config) lastError(offset int64) string {
	msg := lastErrorIn(c.Paths.EngineLog(), offset)
	if c.Settings.DaemonConfig != "" {
		// The file that dockerd reads is made from the user's.
		msg = strings.ReplaceAll(msg, c.private(daemonJSON), c.Settings.DaemonConfig)
	}
	return c.orFull(msg)
}

// orFull adds to an engine's last error that its disk is full, which engines don't always say.
func (c *Config) orFull(msg string) string {
	const little = 1 << 20
	for _, dir := range []string{c.Paths.Data, c.Paths.Exec(), c.Paths.EngineState()} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) != nil || fs.Blocks == 0 || strings.Contains(msg, noSpace) {
			continue
		}
		if fs.Bfree*uint64(fs.Bsize) < little {
			full := fmt.Sprintf("%q: %s", dir, noSpace)
			if msg == "" {
				return full
			}
			return fmt.Sprintf("%s (%s)", msg, full)
		}
	}
	return msg
}

// endWords says which signal has ended an engine, "" if none has or it is not known.
func endWords(endedBy func() syscall.Signal) string {
	if endedBy == nil {
		return ""
	}
	switch s := endedBy(); s {
	case 0:
		return ""
	case syscall.SIGKILL:
		return "the engine was ended by SIGKILL, as the system does where memory runs out"
	default:
		return "the engine was ended by " + unix.SignalName(s)
	}
}

// Problems implements [processes.Process].
func (e *Engine) Problems() (list []processes.Problem, changed <-chan struct{}) {
	return e.problems.List()
}

// Release implements [processes.Running].
func (e *Engine) Release() {
	e.cancel()
	e.watchers.Wait()
}

// Stop ends the engine. Unless ctx has ended, it asks the daemon to end. dockerd stops its
// containers then; those of a containerd are stopped before. When the daemon or ctx has ended, it
// kills every process that is left and removes everything that was made for the engine. It
// returns the ids of the containers that were killed.
func (e *Engine) Stop(ctx context.Context) (killed []string, err error) {
	// Containers' groups that are not below the engine's own: once a shim was killed, its
	// container's can't be found.
	known := e.cfg.scan().Groups
	if ctx.Err() == nil { // else some containers might end by themselves before they are killed
		killed = e.cfg.program().stopContainers(ctx, e)
		if err := e.ID().Signal(syscall.SIGTERM); err != nil && !errors.Is(err, process.ErrGone) {
			e.cfg.Log.WarnContext(ctx, "engine can't be asked to end", "error", err)
		}
	}
	select {
	case <-e.exited:
	case <-ctx.Done():
		e.cfg.Log.WarnContext(ctx, "engine does not end in time: killing it", "pid", e.ID().PID)
	}
	e.Release()
	killed = append(killed, e.cfg.containers()...)
	return killed, e.cfg.cleanup(context.WithoutCancel(ctx), known)
}

// api returns a client for a dockerd. The caller closes it.
func (e *Engine) api() (*endpoint.Client, error) {
	return endpoint.Endpoint{Host: "unix://" + e.cfg.Socket()}.Client()
}

// watch starts the goroutines that watch a running engine, with the ids of its companions.
func (e *Engine) watch(ids []process.ID) {
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	if private, err := mounts.IsPrivate("/"); err == nil && private {
		e.problems.Set("mounts", "the host's / is mounted private: the engine does not see later mounts and unmounts of the host (`sudo mount --make-rshared /` fixes that from the next start on)")
	}
	if e.adopted {
		// Somebody else's child, or nobody's.
		e.watchers.Go(func() {
			if e.ID().Wait(ctx) == nil {
				close(e.exited)
			}
		})
	}
	for i, c := range companions {
		e.watchers.Go(func() { e.keep(ctx, c, ids[i]) })
	}
	e.watchers.Go(func() { e.followHost(ctx) })
	e.watchers.Go(func() { e.watchPorts(ctx) })
	if !e.cfg.rootless() {
		e.watchers.Go(func() {
			if err := e.moveLater(ctx); err != nil && ctx.Err() == nil && e.ID().Alive() {
				e.cfg.Log.WarnContext(ctx, "the engine stays in the control groups of who started it", "error", err)
			}
		})
	}
	e.watchers.Go(func() { e.keepFiles(ctx) })
	if !e.cfg.isContainerd() {
		e.watchers.Go(func() { e.watchContainerd(ctx) })
	}
}

// rules are those of the engine's network namespace, where the host has an address.
func (e *Engine) rules(host netip.Addr) *namespaces.Rules {
	return namespaces.NewRules(e.rec.Subnets, host, e.rec.Localhost)
}

// followHost makes host-gateway lead to the host's address as that changes.
func (e *Engine) followHost(ctx context.Context) {
	err := namespaces.WatchHostAddress(ctx, e.host, func(host netip.Addr) {
		if err := e.cfg.namespaces().SetRules(ctx, e.ID(), e.rules(host)); err != nil && ctx.Err() == nil && e.ID().Alive() {
			e.cfg.Log.WarnContext(ctx, "containers can't reach the host by host-gateway", "address", host, "error", err)
		}
	})
	if err != nil && ctx.Err() == nil {
		e.cfg.Log.WarnContext(ctx, "changes of the host's address are not followed", "error", err)
	}
}

// moveDelay is how long after its start the engine is moved: a move while it starts would slow
// the start.
const moveDelay = 2 * time.Second

// moveLater moves the engine's processes out of the control groups of the session or service
// that started them, in the hierarchies in which they were not born into their own group.
// Containers have groups of their own.
func (e *Engine) moveLater(ctx context.Context) error {
	if !e.pause(ctx, moveDelay) {
		return ctx.Err()
	}
	h, err := processes.FindHierarchies()
	if err != nil {
		return err
	}
	groups, err := e.cfg.processes().MakeGroups(h)
	if err != nil {
		return err
	}
	// Until there is nothing to move: a process that was moved may have started others before.
	moved := map[process.ID]bool{}
	for before := -1; len(moved) > before; {
		before = len(moved)
		if err := e.moveInto(groups, moved); err != nil {
			return err
		}
	}
	return nil
}

// moveInto moves the engine's processes into the groups and adds them to moved, which it leaves
// alone.
func (e *Engine) moveInto(groups []string, moved map[process.ID]bool) error {
	all, err := processes.All(e.cfg.UID)
	if err != nil {
		return err
	}
	for _, p := range all {
		if !p.Marked || moved[p.ID] {
			continue
		}
		moved[p.ID] = true
		for _, dir := range groups {
			if err := processes.Join(dir, p.ID.PID); err != nil && p.ID.Alive() {
				return err
			}
		}
	}
	return nil
}
