package namespaces

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// A Companion is a process in the host's namespaces that serves an engine and ends with the
// last of the engine's processes: slirp4netns, or the relay of name queries.
type Companion struct {
	ID     process.ID
	exited chan struct{} // closed when it has ended; nil if it is not our child
}

// Wait returns when it has ended or ctx has.
func (c *Companion) Wait(ctx context.Context) error {
	if c.exited == nil {
		return c.ID.Wait(ctx)
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What a companion may use: both take a few megabytes and one processor at most. A
// slirp4netns has been seen to grow without an end over one connection.
const companionMemory = 1 << 30

// startCompanion starts a companion of the engine, with files from number 3 on.
func (e Engine) startCompanion(cmd *exec.Cmd, files ...*os.File) (*Companion, error) {
	cmd.Env = append(cmd.Env, processes.MarkerEnv+"="+e.UID)
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	limit := unix.Rlimit{Cur: companionMemory, Max: companionMemory}
	limitErr := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil)
	id, err := process.FindChild(cmd.Process.Pid) // it may have failed already
	if err == nil && limitErr != nil {
		err = fmt.Errorf("limit its memory: %w", limitErr)
	}
	c := &Companion{ID: id, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(c.exited) }()
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	return c, nil
}

// exitPipeOf opens the read end of a running engine's exit pipe.
func exitPipeOf(engine process.ID) (*os.File, error) {
	// To open a pipe's end through /proc opens the pipe, at whichever end.
	exit, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", engine.PID, ExitFD), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if !engine.Alive() { // so it was this pipe
		_ = exit.Close()
		return nil, process.ErrGone
	}
	return exit, nil
}

// StartRelay starts the relay of name queries that arrive on the engine's sockets (see
// [Helper.Sockets]), which it closes.
func (e Engine) StartRelay(program string, sockets []*os.File, exit *os.File) (*Companion, error) {
	defer closeAll(sockets)
	cmd := exec.Command(program, portproxy.RelayArg)
	cmd.Args[0] = portproxy.Name // it may be docker-rd itself
	c, err := e.startCompanion(cmd, append(sockets, exit)...)
	if err != nil {
		return nil, fmt.Errorf("relay of name queries: %w", err)
	}
	return c, nil
}

// AttachRelay starts the relay for a running engine of which it has ended.
func (e Engine) AttachRelay(program string, engine process.ID, net Subnets) (*Companion, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	sockets, err := e.enter(engine, Plan{DNS: net.DNS()})
	if err != nil {
		return nil, fmt.Errorf("relay of name queries: %w", err)
	}
	return e.StartRelay(program, sockets, exit)
}
