package namespaces

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// ExitFD is where the engine's processes have the write end of the exit pipe: its read end
// reports when the last of them has ended. Shims use 3 and up for their children, but no
// number this high.
const ExitFD = 100

// CommSlirp is the command name of slirp4netns.
const CommSlirp = "slirp4netns"

// An Engine identifies the engine for which namespaces are made.
type Engine struct {
	UID      string // marks its processes
	User     bool   // they are in a user namespace
	SlirpLog string // where slirp4netns writes
}

// StartSlirp starts slirp4netns for the network namespace of the process pid, which must not
// end meanwhile. It ends with the last writer of the pipe exit. Ready sends nil when it is
// ready, or slirp4netns's error.
func (e Engine) StartSlirp(pid int, exit *os.File, net Subnets) (s *Companion, ready <-chan error, err error) {
	path, err := programs.Find(CommSlirp)
	if err != nil {
		return nil, nil, err
	}
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, nil, err
	}
	defer netns.Close()
	args := []string{"--configure", "--mtu=" + strconv.Itoa(SlirpMTU), "--disable-host-loopback",
		"--cidr=" + net.Slirp.String(), "--ready-fd=3", "--exit-fd=4", "--netns-type=path"}
	files := []*os.File{exit, netns}
	if net.IPv6 {
		args = append(args, "--enable-ipv6")
	}
	if e.User {
		userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", pid))
		if err != nil {
			return nil, nil, err
		}
		defer userns.Close()
		files = append(files, userns)
		args = append(args, "--userns-path=/proc/self/fd/6")
	}
	cmd := exec.Command(path, append(args, "/proc/self/fd/5", "tap0")...)
	return e.startReady(cmd, CommSlirp, e.SlirpLog, files...)
}

// AttachSlirp starts slirp4netns again for a running engine.
func (e Engine) AttachSlirp(ctx context.Context, engine process.ID, net Subnets) (*Companion, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return nil, err
	}
	defer exit.Close()
	s, ready, err := e.StartSlirp(engine.PID, exit, net)
	if err != nil {
		return nil, err
	}
	if !engine.Alive() { // it may not have been its namespace
		_ = s.ID.Signal(syscall.SIGKILL)
		return nil, process.ErrGone
	}
	if err := s.await(ctx, ready); err != nil {
		return nil, err
	}
	if !net.IPv6 {
		return s, nil
	}
	if _, err := e.enter(ctx, engine, Plan{Tap: TapSysctls(net)}); err != nil {
		return s, fmt.Errorf("IPv6: %w", err)
	}
	return s, nil
}

// LastWords returns the last words of the engine's last slirp4netns.
func (e Engine) LastWords() string { return lastWords(e.SlirpLog) }
