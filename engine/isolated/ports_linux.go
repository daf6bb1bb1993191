package isolated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// watchPorts reports port proxies that were killed until ctx ends. dockerd does not notice
// that, and a containerd has no part in it: the port does not answer until its container is
// restarted.
func (e *Engine) watchPorts(ctx context.Context) {
	dir := e.cfg.private(portsDir)
	follower := dirwatch.Follow(dir, filesInterval, nil)
	defer follower.Close()
	known := map[string]bool{}
	for {
		there := map[string]bool{}
		var proxies map[string]process.ID
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			name := entry.Name()
			there[name] = true
			if known[name] {
				continue
			}
			if proxies == nil {
				proxies = e.proxies()
			}
			proxy := proxies[name] // zero if it has ended
			e.watchers.Go(func() { e.watchPort(ctx, filepath.Join(dir, name), proxy) })
		}
		known = there
		// Many may be published at once, and each look is one at all processes.
		if follower.Wait(ctx) != nil || !e.pause(ctx, portsPause) {
			return
		}
	}
}

// portsPause is how long after the news of a proxy they are looked at.
const portsPause = time.Second

// watchPort waits for the end of the proxy that has made the file. If the proxy did not remove
// the file, it was killed. The file stays, for the next supervisor.
func (e *Engine) watchPort(ctx context.Context, file string, proxy process.ID) {
	if proxy.Wait(ctx) != nil {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil || !e.ID().Alive() {
		return // it has ended normally, or with the engine
	}
	if e.served(filepath.Dir(file), text) { // before this supervisor was started
		_ = os.Remove(file)
		return
	}
	port, _ := portproxy.ReadAnnouncement(text)
	e.cfg.Log.ErrorContext(ctx, "the proxy of a published port was killed: the port does not answer until its container is restarted", "port", port)
	e.problems.Put("port "+port, processes.Problem{
		Words: fmt.Sprintf("port %s does not answer until its container is restarted: its proxy was killed", port),
		Port:  port, Since: time.Now(),
	})
}

// served reports whether a proxy that runs has a file with this text.
func (e *Engine) served(dir string, text []byte) bool {
	for name := range e.proxies() {
		if other, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Equal(other, text) {
			return true
		}
	}
	return false
}

// proxies returns the engine's port proxies by the names of their files, the pids in the engine's
// pid namespace.
func (e *Engine) proxies() map[string]process.ID {
	found := map[string]process.ID{}
	all, _ := processes.All(e.cfg.UID)
	for _, p := range all {
		if p.Marked && p.Comm == portproxy.Name && samePIDNamespace(p.ID.PID, e.ID().PID) {
			found[strconv.Itoa(innermost(p.ID.PID))] = p.ID
		}
	}
	return found
}

func samePIDNamespace(a, b int) bool {
	one, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", a))
	other, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b))
	return errors.Join(err, err2) == nil && one == other
}

// innermost returns the pid of a process in its own pid namespace, 0 if it has ended.
func innermost(pid int) (number int) {
	if pids := process.StatusField(pid, "NSpid"); len(pids) > 0 {
		number, _ = strconv.Atoi(pids[len(pids)-1])
	}
	return number
}
