package namespaces

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// A Companion is a process in the host's namespaces that serves an engine and ends with the
// last of the engine's processes: slirp4netns, the relay of name queries and of connections
// to the host's loopback, or the broker of published ports.
type Companion struct {
	ID     process.ID
	exited chan struct{} // closed when it has ended; nil if it is not our child
}

// Wait returns when the companion or ctx has ended.
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

// companionMemory bounds a companion's memory. It needs a few megabytes, but a slirp4netns has
// been seen to grow without end over one connection.
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
	id, err := process.FindChild(cmd.Process.Pid) // it may have ended already
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

// patience is how long a companion may take to be ready. Normally it takes 3 to 6 ms.
const patience = 5 * time.Second

// startReady starts a companion that writes "1" to its file number 3 when it is ready, and
// whose output goes to a log. Further files follow. Ready sends nil when the companion is
// ready, or else an error with its own words.
func (e Engine) startReady(cmd *exec.Cmd, name, logPath string, files ...*os.File) (c *Companion, ready <-chan error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	defer log.Close()
	cmd.Env = append(cmd.Env, "PATH="+programs.SearchPath())
	cmd.Stdout, cmd.Stderr = log, log
	if c, err = e.startCompanion(cmd, append([]*os.File{w}, files...)...); err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	done := make(chan error, 1)
	late := time.AfterFunc(patience, func() { _ = c.ID.Signal(syscall.SIGKILL) })
	go func() {
		defer r.Close()
		answer, _ := io.ReadAll(io.LimitReader(r, 1))
		if inTime := late.Stop(); string(answer) == "1" {
			done <- nil
		} else if !inTime {
			done <- fmt.Errorf("%s is not ready after %s", name, patience)
		} else {
			<-c.exited
			done <- fmt.Errorf("%s: %s", name, lastWords(logPath))
		}
	}()
	return c, done, nil
}

// await waits until a companion is ready, and kills it otherwise.
func (c *Companion) await(ctx context.Context, ready <-chan error) (err error) {
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = c.ID.Signal(syscall.SIGKILL)
	}
	return err
}

// lastWords returns the last line of the log of a companion that has ended.
func lastWords(path string) string {
	data, _ := os.ReadFile(path)
	words := "it ended without a message"
	for line := range strings.Lines(string(data)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), CommSlirp+": ")
		// slirp4netns's parent process only adds that the child has failed.
		if line != "" && !strings.HasPrefix(line, "child failed") {
			words = line
		}
	}
	return words
}

// exitPipeOf opens the read end of a running engine's exit pipe.
func exitPipeOf(engine process.ID) (*os.File, error) {
	// Opening either end of a pipe through /proc opens the pipe.
	exit, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", engine.PID, ExitFD), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if !engine.Alive() { // if it is alive, it was its pipe
		_ = exit.Close()
		return nil, process.ErrGone
	}
	return exit, nil
}

// StartRelay starts the relay, which serves the engine's sockets (see [Helper.Sockets]) from
// the host's namespaces. It closes the sockets of this process.
func (e Engine) StartRelay(program string, sockets []*os.File, exit *os.File) (*Companion, error) {
	defer closeAll(sockets)
	const forNames = 2
	if len(sockets) < forNames {
		return nil, errors.New("relay: no sockets for name queries")
	}
	args := []string{portproxy.RelayArg}
	for _, s := range sockets[forNames:] {
		port, err := portOf(s)
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		args = append(args, strconv.Itoa(port))
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = portproxy.Name // it may be docker-rd itself
	c, err := e.startCompanion(cmd, append([]*os.File{exit}, sockets...)...)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return c, nil
}

// portOf returns the port that a socket is bound to.
func portOf(socket *os.File) (int, error) {
	addr, err := unix.Getsockname(int(socket.Fd()))
	switch a := addr.(type) {
	case *unix.SockaddrInet4:
		return a.Port, nil
	case *unix.SockaddrInet6:
		return a.Port, nil
	}
	return 0, os.NewSyscallError("getsockname", err)
}

// AttachRelay starts the relay again for a running engine.
func (e Engine) AttachRelay(ctx context.Context, program string, engine process.ID, dns netip.Addr, localhost []uint16) (*Companion, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	sockets, err := e.enter(ctx, engine, Plan{DNS: dns, Localhost: localhost})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return e.StartRelay(program, sockets, exit)
}
