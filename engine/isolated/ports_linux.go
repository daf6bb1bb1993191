package isolated

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
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
			if proxy, ok := childOf(e.dockerd(), number); ok && proxy.Wait(ctx) != nil {
				return
			}
		}
	}
	port, err := os.ReadFile(file)
	if err != nil || !e.id.Alive() || os.Remove(file) != nil {
		return // it has ended normally, or with the engine
	}
	e.cfg.log().ErrorContext(ctx, "the proxy of a published port was killed: the port does not answer until its container is restarted", "port", string(port))
	e.problems.Put("port "+string(port), processes.Problem{
		Words: fmt.Sprintf("port %s does not answer until its container is restarted: its proxy was killed", port),
		Port:  string(port), Since: time.Now(),
	})
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
