//go:build !windows

package endpoint

import (
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
)

// A group is a process with its descendants in its session.
type group struct {
	cmd     *exec.Cmd
	watcher *exec.Cmd
	life    *os.File // closed with the end of this process; then the watcher ends the group

	mu   sync.Mutex
	gone bool // the leader is reaped, its number may be someone else's
}

// startGroup starts cmd in a session of its own: without a terminal for prompts, and to be killed as
// one. It does not outlive this process: cmd first reads a line from descriptor 3, and ends without
// one.
func startGroup(cmd *exec.Cmd) (*group, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g := &group{cmd: cmd}
	if err = g.watch(); err == nil {
		_, err = w.WriteString("\n")
	}
	if err != nil {
		g.kill()
		_ = cmd.Wait()
		g.unwatch()
		return nil, err
	}
	return g, nil
}

// watch starts the watcher. A parent death signal would come with the end of a thread.
func (g *group) watch() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	const script = `read -r _; kill -s KILL -- "-$1"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(g.cmd.Process.Pid))
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends us must not end it
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return err
	}
	g.watcher, g.life = cmd, w
	return nil
}

// kill kills the whole group: it may ignore SIGTERM.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone {
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// wait waits for the leader, kills the rest of the group, and reaps the leader. Call it once.
func (g *group) wait() {
	pid := g.cmd.Process.Pid
	if awaitExit(pid) {
		g.kill()
		g.unwatch() // before the pid can be reused
		g.mu.Lock()
		defer g.mu.Unlock()
		g.gone = true
		_ = g.cmd.Wait()
		return
	}
	// Here the leader can only be reaped first. While the group has members, its number is not
	// reused; of an empty one it may be.
	_ = g.cmd.Wait()
	defer g.unwatch()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// unwatch ends the watcher, if there is one.
func (g *group) unwatch() {
	if g.watcher == nil {
		return
	}
	_ = g.watcher.Process.Kill()
	_ = g.watcher.Wait()
	_ = g.life.Close()
}

// status returns the leader's exit status after wait, -1 for a signal.
func (g *group) status() int { return g.cmd.ProcessState.ExitCode() }
