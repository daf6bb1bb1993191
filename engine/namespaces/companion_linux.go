package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Companions are processes in the host's namespaces that serve an engine and end with the last of
// the engine's processes: slirp4netns, and the relay.

// companionMemory bounds a companion's memory. It needs a few megabytes, but a slirp4netns has
// been seen to grow without end over one connection.
const companionMemory = 1 << 30

// startCompanion starts a companion of the engine, with files from number 3 on. Ended is closed
// when it has ended.
func (e Engine) startCompanion(cmd *exec.Cmd, files ...*os.File) (id process.ID, ended <-chan struct{}, err error) {
	cmd.Env = append(cmd.Env, processes.MarkerEnv+"="+e.UID)
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process.ID{}, nil, err
	}
	limitErr := limitMemory(cmd.Process.Pid)
	id, err = process.FindChild(cmd.Process.Pid) // it may have ended already
	if err == nil && limitErr != nil {
		err = fmt.Errorf("limit its memory: %w", limitErr)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	if err != nil {
		_ = cmd.Process.Kill()
		return process.ID{}, nil, err
	}
	return id, done, nil
}

// limitMemory bounds the memory of a companion. A lower limit stays: a user can't raise it.
func limitMemory(pid int) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &limit); err != nil {
		return err
	}
	limit.Max = min(limit.Max, companionMemory)
	limit.Cur = min(limit.Cur, limit.Max)
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil)
}

// exitPath is where the exit pipe of an engine's process can be opened, at either end.
func exitPath(of process.ID) string { return fmt.Sprintf("/proc/%d/fd/%d", of.PID, ExitFD) }

// exitPipeOf opens the read end of the exit pipe of an engine's process.
func exitPipeOf(of process.ID) (*os.File, error) {
	exit, err := os.OpenFile(exitPath(of), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if !of.Alive() { // if it is alive, it was its pipe
		_ = exit.Close()
		return nil, process.ErrGone
	}
	return exit, nil
}

// A Relay says what an engine's relay serves. It runs in the host's namespaces, and has sockets of
// the engine's.
type Relay struct {
	Program string // the program of the port proxies, which is the relay's too, as the engine has it
	Rules   *Rules // say where the engine's name server is, and which ports are the host's
	Broker  string // the socket at which it opens published ports (see package portproxy)
	API     string // that at which it passes for RootlessKit, for an ordinary user's engine, or ""
}

// Listen opens the sockets of r.Broker and r.API. The caller closes them.
func (r Relay) Listen() (sockets []*os.File, err error) {
	broker, err := portproxy.ListenBroker(r.Broker)
	if err != nil {
		return nil, fmt.Errorf("broker of published ports: %w", err)
	}
	if r.API == "" {
		return []*os.File{broker}, nil
	}
	api, err := portproxy.ListenAPI(r.API)
	if err != nil {
		_ = broker.Close()
		return nil, fmt.Errorf("broker of published ports: %w", err)
	}
	return []*os.File{broker, api}, nil
}

// StartRelay starts the relay of an engine's process with the engine's sockets (see [Helper.Sockets])
// and those that [Relay.Listen] has opened. It ends with the last writer of the pipe exit.
func (e Engine) StartRelay(of process.ID, r Relay, sockets, broker []*os.File, exit *os.File) (process.ID, error) {
	const forNames = 2
	if len(sockets) < forNames {
		return process.ID{}, errors.New("relay: no sockets for name queries")
	}
	listeners := len(sockets) - forNames + len(broker)
	cmd := exec.Command(Inside(of.PID, r.Program), portproxy.RelayArg, strconv.Itoa(listeners))
	cmd.Args[0] = portproxy.Name // it may be docker-rd itself
	id, _, err := e.startCompanion(cmd, slices.Concat([]*os.File{exit}, sockets, broker)...)
	if err != nil {
		return process.ID{}, fmt.Errorf("relay: %w", err)
	}
	return id, nil
}

// AttachRelay starts the relay again for a running engine.
func (e Engine) AttachRelay(ctx context.Context, engine process.ID, r Relay) (process.ID, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return process.ID{}, err
	}
	defer exit.Close()
	sockets, err := e.enter(ctx, engine, Plan{Rules: r.Rules, Sockets: true})
	if err != nil {
		return process.ID{}, fmt.Errorf("relay: %w", err)
	}
	defer CloseAll(sockets)
	broker, err := r.Listen()
	if err != nil {
		return process.ID{}, err
	}
	defer CloseAll(broker)
	return e.StartRelay(engine, r, sockets, broker, exit)
}
