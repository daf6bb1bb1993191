package mirror_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/engine/isolated"
	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/asuser"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/internal/test/oracle"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func TestMain(m *testing.M) {
	namespaces.RunHelper()
	os.Exit(m.Run())
}

// containerdHost is a containerd of our own, root's or an ordinary user's.
type containerdHost struct {
	t      *testing.T
	cfg    isolated.Config
	engine engine.Process
	pid    atomic.Int64 // the engine's, also while it is started again
	dir    string
}

func startContainerd(t *testing.T) *containerdHost {
	t.Helper()
	realengine.NeedOwn(t)
	h := &containerdHost{t: t, dir: mirrortest.ShortDir(t)}
	proxy, _, err := realengine.Built(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	inst := &instance.Instance{
		UID:      "oracle-" + strings.ToLower(rand.Text()[:8]),
		Settings: instance.Settings{Driver: instance.DriverDockerd, Engine: instance.KindContainerd},
		Paths:    instance.Paths{State: filepath.Join(h.dir, "state"), Data: filepath.Join(h.dir, "data"), Runtime: filepath.Join(h.dir, "run")},
	}
	if os.Geteuid() != 0 {
		inst.Settings.Driver = instance.DriverRootless
	}
	h.cfg = isolated.Config{Instance: inst, Proxy: proxy, Log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() {
		if h.engine != nil {
			h.engine.Release()
		}
		if _, err := h.cfg.Cleanup(context.Background()); err != nil {
			t.Error(err)
		}
		if os.Geteuid() != 0 { // what containers have made as other users
			if err := isolated.RemoveTree(h.cfg.Paths.Data); err != nil {
				t.Error(err)
			}
		}
	})
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	return h
}

// start starts the engine, and returns when it answers.
func (h *containerdHost) start() (err error) {
	running, err := h.cfg.Start(h.t.Context())
	if err != nil {
		return err
	}
	h.engine = running.(engine.Process)
	h.pid.Store(int64(h.engine.ID().PID))
	for end := time.Now().Add(mirrortest.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = h.ctr(h.t.Context(), "version"); err == nil {
			return nil
		}
	}
	return err
}

// restart sends containerd a signal and starts it again when it has ended.
func (h *containerdHost) restart(signal string) error {
	if err := h.signal(signal); err != nil {
		return err
	}
	<-h.engine.Exited()
	h.engine.Release()
	return h.start()
}

// signal sends containerd a signal. An ordinary user's is a child of the engine's first process.
func (h *containerdHost) signal(name string) error {
	pid := h.engine.ID().PID
	if os.Geteuid() != 0 {
		out, err := exec.Command("pgrep", "--parent", fmt.Sprint(pid), "--exact", "containerd").Output()
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(string(out), &pid); err != nil {
			return err
		}
	}
	return unix.Kill(pid, unix.SignalNum("SIG"+name))
}

// ctr runs containerd's own command in the engine's namespaces.
func (h *containerdHost) ctr(ctx context.Context, args ...string) error {
	enter := []string{"--target", fmt.Sprint(h.pid.Load()), "--mount", "--net"}
	if os.Geteuid() != 0 {
		enter = append(enter, "--user", "--preserve-credentials", "--pid")
	} else {
		enter = append(enter, "--cgroup")
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, "ctr", "--address", h.cfg.Socket()), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ctr: %w: %s", err, out)
	}
	return nil
}

// archives writes archives of images that share their one layer, and returns its digest.
func (h *containerdHost) archives(names ...string) (layer string, paths []string) {
	h.t.Helper()
	rootFS, err := realengine.RootFS(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for i, name := range names {
		archive, err := realengine.ImageArchive(rootFS, name, fmt.Sprint(i))
		path := filepath.Join(h.dir, fmt.Sprintf("image%d.tar", i))
		if err == nil {
			err = os.WriteFile(path, archive, 0o600)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(rootFS)), paths
}

// source returns what connects to the engine's mirror, and its oracle.
func (h *containerdHost) source() (connect func(socket string) func() (mirror.Engine, error), o oracle.Expecter) {
	h.t.Helper()
	state := filepath.Join(h.cfg.Paths.Exec(), "containerd")
	connect = func(socket string) func() (mirror.Engine, error) {
		at := func() (endpoint.Endpoint, error) { return endpoint.Endpoint{Host: "unix://" + socket}, nil }
		return mirror.Connector{Endpoint: at, Containerd: true, Data: h.cfg.Paths.Data, Run: state}.Connect
	}
	o, err := oracle.NewContainerd(h.cfg.Socket(), h.cfg.Paths.Data, state)
	if err != nil {
		h.t.Fatal(err)
	}
	return connect, o
}

// mirroredContainerd starts a containerd and its mirror, and returns the archive of an image.
func mirroredContainerd(t *testing.T, image string) (h *containerdHost, r *mirrortest.Rig, archive string) {
	t.Helper()
	h = startContainerd(t)
	connect, o := h.source()
	r = mirrortest.NewWith(t, h.dir, o, mirror.SourceOptions{Connect: connect(h.cfg.Socket())})
	r.Start()
	_, archives := h.archives(image)
	return h, r, archives[0]
}

// An image may be named before its content is there.
func TestContainerdContentComesLater(t *testing.T) {
	h, r, archive := mirroredContainerd(t, "example.org/late:1")
	ctx := t.Context()
	if err := h.ctr(ctx, "--namespace", "one", "images", "import", archive); err != nil {
		t.Fatal(err)
	}
	r.Await("the image", func(s *state.State) bool { return len(s.Images) == 1 })
	api, err := containerd.New(h.cfg.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	image, err := api.Image(ctx, "one", "example.org/late:1")
	if err != nil {
		t.Fatal(err)
	}
	// Content belongs to a namespace.
	d, err := oracle.NewContainerdDriver(0, 0, oracle.ContainerdDriverOptions{Socket: h.cfg.Socket()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Name(ctx, "two", "early:1", image.Target.Digest); err != nil {
		t.Fatal(err)
	}
	id := containerd.Key("two", image.Target.Digest)
	r.Await("the image without content", func(s *state.State) bool { return len(s.Images[id].RepoTags) == 1 })
	r.AwaitEqual()
	if err := h.ctr(ctx, "--namespace", "two", "images", "import", archive); err != nil {
		t.Fatal(err)
	}
	r.Await("its second name", func(s *state.State) bool { return len(s.Images[id].RepoTags) == 2 })
	r.AwaitEqual()
}

// A container's shim tells containerd of its task when the call for that has been answered: under
// load much later.
func TestContainerdShimReportsLate(t *testing.T) {
	h, r, archive := mirroredContainerd(t, "example.org/prog:1")
	ctx := t.Context()
	if err := h.ctr(ctx, "images", "import", archive); err != nil {
		t.Fatal(err)
	}
	r.AwaitEqual()
	reports := h.cfg.Socket() + ".ttrpc"
	if err := os.Rename(reports, reports+".away"); err != nil {
		t.Fatal(err)
	}
	if err := h.ctr(ctx, "run", "--detach", "example.org/prog:1", "one", "/prog", "sleep"); err != nil {
		t.Fatal(err)
	}
	if is := settle(r).Containers["default/one"].State; is != state.StateRunning {
		t.Errorf("the container that runs is %q", is)
	}
	if err := os.Rename(reports+".away", reports); err != nil {
		t.Fatal(err)
	}
}

// The mirror of a containerd equals what its own packages and nerdctl's files say, as
// [TestOracle] has it for dockerd.
func TestOracleContainerd(t *testing.T) {
	h := startContainerd(t)
	s := oracleSubject{dir: h.dir, socket: h.cfg.Socket(), restart: h.restart, hangable: h.signal}
	s.connect, s.oracle = h.source()
	o := oracle.ContainerdDriverOptions{Socket: h.cfg.Socket(), Data: h.cfg.Paths.Data, Ctr: h.ctr, Grouped: os.Geteuid() == 0}
	o.Layer, o.Archives = h.archives(oracle.ImageNames...)
	if said, err := exec.Command("containerd", "--version").Output(); err == nil {
		t.Logf("%s", said)
	}
	seed := oracleSeeded(t)
	for i := range oracleClients {
		d, err := oracle.NewContainerdDriver(seed, uint64(i+1), o)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if i == 0 {
			if err := d.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s.drivers = append(s.drivers, d)
	}
	s.compare(t, seed)
}

// An ordinary user's containers have no control groups, and are never paused.
func TestOracleContainerdAsUser(t *testing.T) {
	asuser.Rerun(t, "^TestOracleContainerd$")
}
