package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// watchPorts reports port proxies that were killed until ctx ends. dockerd does not notice
// that: the port does not answer until its container is restarted.
func (e *Engine) watchPorts(ctx context.Context) {
	dir := e.cfg.private(portsDir)
	follower := dirwatch.Follow(dir, filesInterval, nil)
	defer follower.Close()
	known := map[string]bool{}
	for {
		there := map[string]bool{}
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			name := entry.Name()
			there[name] = true
			if !known[name] {
				e.watchers.Go(func() { e.watchPort(ctx, filepath.Join(dir, name)) })
			}
		}
		known = there
		if follower.Wait(ctx) != nil {
			return
		}
	}
}

// watchPort waits for the end of the proxy that has made the file. If the proxy did not remove
// the file, it was killed.
func (e *Engine) watchPort(ctx context.Context, file string) {
	if number, err := strconv.Atoi(filepath.Base(file)); err == nil {
		for range 3 { // while others end, a child may be left out among its parent's
			if proxy, ok := e.proxy(number); ok && proxy.Wait(ctx) != nil {
				return
			}
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || !e.id.Alive() || os.Remove(file) != nil {
		return // it has ended normally, or with the engine
	}
	port, _ := portproxy.ReadAnnouncement(text)
	e.cfg.log().ErrorContext(ctx, "the proxy of a published port was killed: the port does not answer until its container is restarted", "port", port)
	e.problems.Put("port "+port, processes.Problem{
		Words: fmt.Sprintf("port %s does not answer until its container is restarted: its proxy was killed", port),
		Port:  port, Since: time.Now(),
	})
}

// proxy returns the proxy that has the pid number in the engine's pid namespace.
func (e *Engine) proxy(number int) (process.ID, bool) {
	if !e.cfg.Containerd {
		return childOf(e.dockerd(), number)
	}
	// Whatever has started it has ended.
	all, _ := processes.All(e.cfg.UID)
	for _, p := range all {
		if p.Marked && p.Comm == portproxy.Name && innermost(p.ID.PID) == number && samePIDNamespace(p.ID.PID, e.id.PID) {
			return p.ID, true
		}
	}
	return process.ID{}, false
}

func samePIDNamespace(a, b int) bool {
	one, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", a))
	other, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b))
	return errors.Join(err, err2) == nil && one == other
}

// dockerd returns the pid of dockerd, which in an ordinary user's engine is a child of the
// first process.
func (e *Engine) dockerd() int {
	if e.cfg.Rootless {
		for _, pid := range children(e.id.PID) {
			if stat, err := process.ReadStat(pid); err == nil && stat.Comm == e.cfg.program().comm() {
				return pid
			}
		}
	}
	return e.id.PID
}

// childOf returns the child of a process that has the pid number in its own pid namespace.
func childOf(parent, number int) (process.ID, bool) {
	for _, pid := range children(parent) {
		if innermost(pid) == number {
			id, err := process.Find(pid)
			return id, err == nil
		}
	}
	return process.ID{}, false
}

// children returns the pids of a process's children.
func children(parent int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// innermost returns the pid of a process in its own pid namespace, 0 if it has ended.
func innermost(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			if len(fields) > 0 {
				number, _ := strconv.Atoi(fields[len(fields)-1])
				return number
			}
		}
	}
	return 0
}
