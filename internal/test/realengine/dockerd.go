// Package realengine runs real engines for tests and benchmarks, in namespaces of
// their own, so that nothing on the machine notices and nothing of them is left
// behind. It works on Linux, for root.
package realengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Need skips a test of a real engine where it is not wanted, in a short run, or cannot
// be, without root. Where a program is missing the test fails: `make deps` installs it.
func Need(t testing.TB) {
	t.Helper()
	NeedOwn(t)
	if os.Geteuid() != 0 {
		t.Skip("this real engine takes root")
	}
}

// NeedOwn is [Need] for an engine that everybody can have: root's or an ordinary user's.
func NeedOwn(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("real engines are left out of a short run")
	}
}

// Dockerd is a private dockerd. Its processes live in pid, mount and network
// namespaces of their own; the first of them is a shell that starts and kills the
// engine on command and collects what it leaves.
type Dockerd struct {
	// Socket is the path of the engine's socket.
	Socket string

	dir   string
	init  *exec.Cmd
	shell io.WriteCloser
	ended chan struct{}
	group string // the name of the cgroup that the containers' are below
}

// engines counts the engines of this process.
var engines atomic.Int64

// startTimeout is how long an engine may take until it answers.
const startTimeout = 60 * time.Second

// StartDockerd runs a dockerd with its data below dir, which must be short: sockets
// are in it. Args are added to dockerd's. It returns when the engine answers.
func StartDockerd(ctx context.Context, dir string, args ...string) (*Dockerd, error) {
	for _, program := range []string{"dockerd", "containerd", "runc", "unshare", "bash", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	for _, sub := range []string{"run", "etc", "x"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "dockerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d := &Dockerd{Socket: filepath.Join(dir, "d.sock"), dir: dir, ended: make(chan struct{}), group: fmt.Sprintf("rdtest-%d-%d", os.Getpid(), engines.Add(1))}
	// --kill-child: the whole pid namespace dies with unshare.
	d.init = exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c",
		`while read -r line; do eval "$line"; done`)
	d.init.Stdout, d.init.Stderr = log, log
	if d.shell, err = d.init.StdinPipe(); err != nil {
		return nil, err
	}
	if err := d.init.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(d.ended)
		_ = d.init.Wait()
	}()
	// Private copies of what engines share: the host's containerd socket, and the
	// configuration with the identity. The cgroup parent is ours alone.
	d.do(
		"mkdir -p /run/containerd /etc/docker",
		fmt.Sprintf("mount --bind %s /run/containerd && mount --bind %s /etc/docker", d.path("run"), d.path("etc")),
		"ip link set lo up",
		fmt.Sprintf("args=(--host unix://%s --data-root %s --exec-root %s --pidfile %s --config-file %s --cgroup-parent /%s --userland-proxy=false %s)",
			d.Socket, d.path("data"), d.path("x"), d.path("d.pid"), d.path("daemon.json"), d.group, strings.Join(args, " ")),
	)
	if err := d.Start(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dockerd) path(name string) string { return filepath.Join(d.dir, name) }

// do has the shell inside run command lines.
func (d *Dockerd) do(lines ...string) {
	_, _ = io.WriteString(d.shell, strings.Join(lines, "\n")+"\n")
}

// Start starts the engine again after Kill and returns when it answers.
func (d *Dockerd) Start(ctx context.Context) error {
	d.do(fmt.Sprintf("rm -f %s %s/containerd/containerd.pid", d.path("d.pid"), d.path("x")), `dockerd "${args[@]}" & engine=$!`)
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ping(ctx, d.Socket)
		if err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return fmt.Errorf("dockerd ended: %s", d.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("dockerd does not answer: %w: %s", err, d.lastLog())
		case <-again.C:
			// 20.10 panics over a network that was being made when it was killed, each
			// time it starts.
			d.do(fmt.Sprintf(`kill -0 "$engine" || { rm -f %s; dockerd "${args[@]}" & engine=$!; }`, d.path("data/network/files/local-kv.db")))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ServeRegistry runs a registry in the engine's network, on 127.0.0.1:5000, until Close. The
// engine reaches nothing else.
func (d *Dockerd) ServeRegistry() error {
	if _, err := exec.LookPath("docker-registry"); err != nil {
		return err
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:5000}\n", d.path("registry"))
	if err := os.WriteFile(d.path("registry.yml"), []byte(config), 0o600); err != nil {
		return err
	}
	d.do(fmt.Sprintf("docker-registry serve %s &", d.path("registry.yml")))
	return nil
}

// Kill kills the engine and its containerd; the containers go on. Signal is that of
// kill(1): KILL, TERM.
func (d *Dockerd) Kill(signal string) {
	done := d.path("killed")
	_ = os.Remove(done)
	cmd := fmt.Sprintf(`kill -%s "$engine"; wait "$engine"`, signal)
	if signal == "KILL" {
		cmd += fmt.Sprintf(`; kill -KILL $(cat %s/containerd/containerd.pid)`, d.path("x"))
	}
	d.do(cmd, "touch "+done)
	for {
		if _, err := os.Stat(done); err == nil {
			return
		}
		select {
		case <-d.ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Close ends every process of the engine and removes its cgroups. The directory is
// its maker's to remove.
func (d *Dockerd) Close() error {
	_ = d.shell.Close()
	// unshare, which we started: its child is the first process of the pid namespace,
	// and the kernel kills the others with it.
	_ = d.init.Process.Kill()
	thaw("/sys/fs/cgroup/freezer/" + d.group)
	<-d.ended
	return removeCgroups(d.group)
}

func (d *Dockerd) lastLog() string {
	data, _ := os.ReadFile(d.path("dockerd.log"))
	if i := bytes.LastIndex(data, []byte("\npanic: ")); i >= 0 {
		data = data[i:min(len(data), i+2000)]
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}

// removeCgroups removes the cgroups of that name in all hierarchies, as soon as the
// kernel has let go of their last process.
func removeCgroups(name string) error {
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		m, _ := filepath.Glob(pattern)
		found = append(found, m...)
	}
	var err error
	for _, top := range found {
		thaw(top) // a paused container's processes do not die, with cgroup v1
	}
	for _, top := range found {
		for range 500 {
			var dirs []string
			_ = filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			err = nil
			for i := len(dirs) - 1; i >= 0; i-- {
				if rm := os.Remove(dirs[i]); rm != nil {
					err = rm
				}
			}
			if err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return err
}

// thaw lets the frozen processes of a cgroup v1 hierarchy go on.
func thaw(top string) {
	_ = filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "freezer.state" {
			_ = os.WriteFile(path, []byte("THAWED"), 0)
		}
		return nil
	})
}

// ping asks an engine on a unix socket whether it is there.
func ping(ctx context.Context, socket string) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}
