package dockerd

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

	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// exitFD is where the engine's processes hold the write end of a pipe, so that its
// read end tells when the last of them has ended. A number this high is never used by
// a shim, which takes 3 and up for its own children.
const exitFD = 100

// slirpPatience is how long slirp4netns may take to be ready, which takes it 3 to 6 ms.
const slirpPatience = 5 * time.Second

// slirp is a running slirp4netns, which connects the engine's network namespace to the
// outside.
type slirp struct {
	id     process.ID
	exited chan struct{} // closed when it has ended; nil if it is not our child
}

// startSlirp starts slirp4netns for the network namespace netns. It ends by itself
// when nobody holds the other end of exit any more. It is ready when ready reports
// nil; an error there is slirp4netns's own.
func (c *Config) startSlirp(path string, netns, exit *os.File, net subnets) (s *slirp, ready <-chan error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	log, err := os.OpenFile(c.slirpLog(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("slirp4netns: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(path, "--configure", "--mtu="+strconv.Itoa(slirpMTU), "--disable-host-loopback",
		"--cidr="+net.Slirp.String(), "--ready-fd=3", "--exit-fd=5", "--netns-type=path", "/proc/self/fd/4", "tap0")
	cmd.Env = []string{"PATH=" + programs.SearchPath(), markerEnv + "=" + c.UID}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w, netns, exit}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("slirp4netns: %w", err)
	}
	id, findErr := process.FindChild(cmd.Process.Pid) // it may have failed already
	s = &slirp{id: id, exited: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.exited) }()
	done := make(chan error, 1)
	late := time.AfterFunc(slirpPatience, func() { _ = s.id.Signal(syscall.SIGKILL) })
	go func() {
		defer r.Close()
		answer, _ := io.ReadAll(io.LimitReader(r, 1))
		if inTime := late.Stop(); string(answer) == "1" {
			done <- nil
		} else if !inTime {
			done <- fmt.Errorf("slirp4netns is not ready after %s", slirpPatience)
		} else {
			<-s.exited
			done <- fmt.Errorf("slirp4netns: %s", lastWords(c.slirpLog()))
		}
	}()
	if findErr != nil {
		_ = cmd.Process.Kill()
		return nil, nil, findErr
	}
	return s, done, nil
}

func (c *Config) slirpLog() string { return c.private("slirp4netns.log") }

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

// attachSlirp starts slirp4netns for a running engine of which it has ended.
func (c *Config) attachSlirp(ctx context.Context, engine process.ID, net subnets) (*slirp, error) {
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
	exit, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", engine.PID, exitFD), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	if !engine.Alive() { // so it was these namespaces and this pipe
		return nil, process.ErrGone
	}
	s, ready, err := c.startSlirp(path, netns, exit, net)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = s.id.Signal(syscall.SIGKILL)
		return nil, err
	}
	return s, nil
}

// wait returns when it has ended or ctx has.
func (s *slirp) wait(ctx context.Context) error {
	if s.exited == nil {
		return s.id.Wait(ctx)
	}
	select {
	case <-s.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
