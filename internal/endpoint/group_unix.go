//go:build !windows

package endpoint

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A group is a process and everything it started that did not leave its session.
type group struct {
	cmd  *exec.Cmd
	life *os.File // ours alone

	mu   sync.Mutex
	gone bool // the leader is reaped, its number may be someone else's
}

// startGroup starts cmd in a session of its own: a group that can be killed as one,
// and no terminal to ask questions on. Its descriptor 3 is a pipe that ends with this
// process, however it ends.
func startGroup(cmd *exec.Cmd) (*group, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &group{cmd: cmd, life: w}, nil
}

// kill ends the whole group at once. Terminating it politely would only give it time
// to ignore that.
func (g *group) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone {
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// wait waits for the leader, ends what it left behind, and reaps it. To be called once.
func (g *group) wait() {
	defer g.life.Close()
	defer g.awaitWatcher()
	pid := g.cmd.Process.Pid
	if awaitExit(pid) {
		g.kill()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.gone = true
		_ = g.cmd.Wait()
		return
	}
	// The leader can only be reaped first. A group that still has members keeps its
	// number from being given to others, an empty one has lost it this very instant.
	_ = g.cmd.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// awaitWatcher waits until nobody has the other end of the lifeline, though not for long:
// the last to die is who watches it, and init reaps it.
func (g *group) awaitWatcher() {
	fds := []unix.PollFd{{Fd: int32(g.life.Fd())}} // errors are always told
	for {
		if _, err := unix.Poll(fds, int(reapTimeout.Milliseconds())); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// status returns the leader's exit status after wait, -1 for a signal.
func (g *group) status() int { return g.cmd.ProcessState.ExitCode() }
