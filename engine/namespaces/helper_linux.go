package namespaces

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/process"
)

// A Helper is a started helper process that waits for its plan.
type Helper struct {
	ID     process.ID
	Exited chan struct{} // closed when the process has ended
	// Sockets are those that the plan asked for, once it was carried out. The caller closes
	// them.
	Sockets []*os.File

	cmd  *exec.Cmd
	plan *os.File // the socket by which the helper gets its plan and reports
}

// startHelper starts this program as the helper, with files from pipeFD on: the first is the
// write end of the exit pipe, or nil. Argv runs the program with initArg or userArg.
func startHelper(argv []string, files []*os.File, attr *syscall.SysProcAttr, env []string, log *os.File) (*Helper, error) {
	plan, helpers, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer helpers.Close()
	cmd := &exec.Cmd{
		Path:        argv[0],
		Args:        append([]string{"docker-rd"}, argv[1:]...),
		Env:         env,
		ExtraFiles:  append([]*os.File{helpers}, files...),
		SysProcAttr: attr,
	}
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	if err := cmd.Start(); err != nil {
		_ = plan.Close()
		return nil, fmt.Errorf("start the engine's helper: %w", err)
	}
	h := &Helper{cmd: cmd, plan: plan, Exited: make(chan struct{})}
	h.ID, err = process.FindChild(cmd.Process.Pid)
	go func() { _ = cmd.Wait(); close(h.Exited) }()
	if err != nil {
		return nil, errors.Join(err, h.Abort())
	}
	return h, nil
}

func helperArgs(arg string) []string { return []string{"/proc/self/exe", arg} }

// EndedBy returns the signal that has ended the process, or the daemon that it has started; 0 if none
// has. It must be called after Exited is closed.
func (h *Helper) EndedBy() syscall.Signal {
	status, _ := h.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return status.Signal()
	case status.ExitStatus() > signalled:
		return syscall.Signal(status.ExitStatus() - signalled)
	}
	return 0
}

// signalled is added to the number of the signal that has ended a daemon, to make the exit status of
// its init, as in shells.
const signalled = 128

// Abort ends a helper that gets no plan.
func (h *Helper) Abort() error {
	_ = h.plan.Close()
	err := h.cmd.Process.Kill()
	<-h.Exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Run sends the helper its plan and returns when the helper has carried it out or has failed.
// If ctx ends first, the helper is killed.
func (h *Helper) Run(ctx context.Context, p Plan) error {
	stop := context.AfterFunc(ctx, func() { _ = h.cmd.Process.Kill() })
	report, err := h.ask(p)
	if !stop() {
		err = ctx.Err()
	}
	if err == nil && len(report) > 0 {
		err = errors.New(string(report))
	}
	if err != nil {
		CloseAll(h.Sockets)
		h.Sockets = nil
	}
	return err
}

// ask sends the helper its plan and returns its report.
func (h *Helper) ask(p Plan) (report []byte, err error) {
	defer h.plan.Close()
	planErr := json.NewEncoder(h.plan).Encode(p)
	_ = unix.Shutdown(int(h.plan.Fd()), unix.SHUT_WR) // the plan is whole
	report, h.Sockets, err = receive(int(h.plan.Fd()))
	if len(report) == 0 && planErr != nil {
		err = fmt.Errorf("plan: %w", planErr)
	}
	return report, err
}

// socketPair returns two connected unix sockets.
func socketPair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "plan"), os.NewFile(uintptr(fds[1]), "plan"), nil
}
