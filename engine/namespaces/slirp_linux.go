package namespaces

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// ExitFD is where the engine's processes hold the write end of a pipe, so that its
// read end tells when the last of them has ended. A number this high is never used by
// a shim, which takes 3 and up for its own children.
const ExitFD = 100

// slirpPatience is how long slirp4netns may take to be ready, which takes it 3 to 6 ms.
const slirpPatience = 5 * time.Second

// An Engine says for whom namespaces are made.
type Engine struct {
	UID      string // marks its processes
	SlirpLog string // where slirp4netns writes
}

// A Slirp is a running slirp4netns, which connects the engine's network namespace to the
// outside.
type Slirp struct {
	ID     process.ID
	exited chan struct{} // closed when it has ended; nil if it is not our child
}

// StartSlirp starts slirp4netns for the network namespace netns. It ends by itself
// when nobody holds the other end of exit any more. It is ready when ready reports
// nil; an error there is slirp4netns's own.
func (e Engine) StartSlirp(path string, netns, exit *os.File, net Subnets) (s *Slirp, ready <-chan error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	log, err := os.OpenFile(e.SlirpLog, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("slirp4netns: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(path, "--configure", "--mtu="+strconv.Itoa(SlirpMTU), "--disable-host-loopback",
		"--cidr="+net.Slirp.String(), "--ready-fd=3", "--exit-fd=5", "--netns-type=path", "/proc/self/fd/4", "tap0")
	cmd.Env = []string{"PATH=" + programs.SearchPath(), processes.MarkerEnv + "=" + e.UID}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w, netns, exit}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("slirp4netns: %w", err)
	}
	id, findErr := process.FindChild(cmd.Process.Pid) // it may have failed already
	s = &Slirp{ID: id, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.exited) }()
	done := make(chan error, 1)
	late := time.AfterFunc(slirpPatience, func() { _ = s.ID.Signal(syscall.SIGKILL) })
	go func() {
		defer r.Close()
		answer, _ := io.ReadAll(io.LimitReader(r, 1))
		if inTime := late.Stop(); string(answer) == "1" {
			done <- nil
		} else if !inTime {
			done <- fmt.Errorf("slirp4netns is not ready after %s", slirpPatience)
		} else {
			<-s.exited
			done <- fmt.Errorf("slirp4netns: %s", lastWords(e.SlirpLog))
		}
	}()
	if findErr != nil {
		_ = cmd.Process.Kill()
		return nil, nil, findErr
	}
	return s, done, nil
}

// lastWords returns what a slirp4netns that has ended says of it.
func lastWords(path string) string {
	data, _ := os.ReadFile(path)
	words := "it ended without a word"
	for line := range strings.Lines(string(data)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "slirp4netns: ")
		// The parent's last line only says that the child had failed, with words of its own.
		if line != "" && !strings.HasPrefix(line, "child failed") {
			words = line
		}
	}
	return words
}

// AttachSlirp starts slirp4netns for a running engine of which it has ended.
func (e Engine) AttachSlirp(ctx context.Context, engine process.ID, net Subnets) (*Slirp, error) {
	path, err := programs.Find("slirp4netns")
	if err != nil {
		return nil, err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", engine.PID))
	if err != nil {
		return nil, err
	}
	defer netns.Close()
	// To open a pipe's end through /proc opens the pipe, at whichever end.
	exit, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", engine.PID, ExitFD), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	if !engine.Alive() { // so it was these namespaces and this pipe
		return nil, process.ErrGone
	}
	s, ready, err := e.StartSlirp(path, netns, exit, net)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = s.ID.Signal(syscall.SIGKILL)
		return nil, err
	}
	return s, nil
}

// Wait returns when it has ended or ctx has.
func (s *Slirp) Wait(ctx context.Context) error {
	if s.exited == nil {
		return s.ID.Wait(ctx)
	}
	select {
	case <-s.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
