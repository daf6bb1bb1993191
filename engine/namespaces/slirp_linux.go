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

// slirpPatience is how long slirp4netns may take to be ready. Normally it takes 3 to 6 ms, in an
// emulated machine with little time of its own it took more than 5 s.
const slirpPatience = 30 * time.Second

// StartSlirp starts slirp4netns for the network namespace of a process. It ends with the last
// writer of the pipe exit. Ready sends nil when it is ready, or slirp4netns's error.
func (e Engine) StartSlirp(of process.ID, exit *os.File, net Subnets) (id process.ID, ready <-chan error, err error) {
	path, err := programs.Find(CommSlirp)
	if err != nil {
		return id, nil, err
	}
	args := []string{"--configure", "--mtu=" + strconv.Itoa(SlirpMTU), "--disable-host-loopback",
		"--cidr=" + net.Slirp.String(), "--ready-fd=3", "--exit-fd=4", "--netns-type=path"}
	if net.IPv6 {
		args = append(args, "--enable-ipv6")
	}
	names := []string{"net"}
	if e.User {
		names = append(names, "user")
		args = append(args, "--userns-path=/proc/self/fd/6")
	}
	namespaces, err := openNamespaces(of, names...)
	if err != nil {
		return id, nil, err
	}
	defer CloseAll(namespaces)
	log, err := os.OpenFile(e.SlirpLog, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return id, nil, fmt.Errorf("%s: %w", CommSlirp, err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return id, nil, err
	}
	defer w.Close()
	cmd := exec.Command(path, append(args, "/proc/self/fd/5", "tap0")...)
	cmd.Env = []string{"PATH=" + programs.SearchPath()}
	cmd.Stdout, cmd.Stderr = log, log
	id, ended, err := e.startCompanion(cmd, append([]*os.File{w, exit}, namespaces...)...)
	if err != nil {
		_ = r.Close()
		return id, nil, fmt.Errorf("%s: %w", CommSlirp, err)
	}
	done := make(chan error, 1)
	late := time.AfterFunc(slirpPatience, func() { _ = id.Signal(syscall.SIGKILL) })
	go func() {
		defer r.Close()
		answer, _ := io.ReadAll(io.LimitReader(r, 1))
		if inTime := late.Stop(); string(answer) == "1" {
			done <- nil
		} else if !inTime {
			done <- fmt.Errorf("%s is not ready after %s", CommSlirp, slirpPatience)
		} else {
			<-ended
			done <- fmt.Errorf("%s: %s", CommSlirp, e.LastWords())
		}
	}()
	return id, done, nil
}

// AttachSlirp starts slirp4netns again for a running engine. It may run although there is an error:
// then it has an id.
func (e Engine) AttachSlirp(ctx context.Context, engine process.ID, net Subnets) (process.ID, error) {
	exit, err := exitPipeOf(engine)
	if err != nil {
		return process.ID{}, err
	}
	defer exit.Close()
	id, ready, err := e.StartSlirp(engine, exit, net)
	if err != nil {
		return process.ID{}, err
	}
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = id.Signal(syscall.SIGKILL)
		return process.ID{}, err
	}
	if !net.IPv6 {
		return id, nil
	}
	if _, err := e.enter(ctx, engine, Plan{IPv6: true}); err != nil {
		return id, fmt.Errorf("IPv6: %w", err)
	}
	return id, nil
}

// LastWords returns the last line that the engine's last slirp4netns has written.
func (e Engine) LastWords() string {
	data, _ := os.ReadFile(e.SlirpLog)
	words := "it ended without a message"
	for line := range strings.Lines(string(data)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), CommSlirp+": ")
		// Its parent process only adds that the child has failed.
		if line != "" && !strings.HasPrefix(line, "child failed") {
			words = line
		}
	}
	return words
}
