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

// StartSlirp starts slirp4netns for the network namespace netns. It ends by itself
// when nobody holds the other end of exit any more. It is ready when ready reports
// nil; an error there is slirp4netns's own.
func (e Engine) StartSlirp(path string, netns, exit *os.File, net Subnets) (s *Companion, ready <-chan error, err error) {
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
	args := []string{"--configure", "--mtu=" + strconv.Itoa(SlirpMTU), "--disable-host-loopback",
		"--cidr=" + net.Slirp.String(), "--ready-fd=3", "--exit-fd=5", "--netns-type=path"}
	if net.IPv6 {
		args = append(args, "--enable-ipv6")
	}
	cmd := exec.Command(path, append(args, "/proc/self/fd/4", "tap0")...)
	cmd.Env = []string{"PATH=" + programs.SearchPath()}
	cmd.Stdout, cmd.Stderr = log, log
	if s, err = e.startCompanion(cmd, w, netns, exit); err != nil {
		_ = r.Close()
		return nil, nil, fmt.Errorf("slirp4netns: %w", err)
	}
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
func (e Engine) AttachSlirp(ctx context.Context, engine process.ID, net Subnets) (*Companion, error) {
	path, err := programs.Find("slirp4netns")
	if err != nil {
		return nil, err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", engine.PID))
	if err != nil {
		return nil, err
	}
	defer netns.Close()
	exit, err := exitPipeOf(engine) // while it lives, it was these namespaces too
	if err != nil {
		return nil, err
	}
	defer exit.Close()
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
	if !net.IPv6 {
		return s, nil
	}
	if _, err := e.enter(engine, Plan{Tap: TapSysctls(net)}); err != nil {
		return s, fmt.Errorf("IPv6: %w", err)
	}
	return s, nil
}

// LastWords returns what the engine's last slirp4netns has said of its end.
func (e Engine) LastWords() string { return lastWords(e.SlirpLog) }
