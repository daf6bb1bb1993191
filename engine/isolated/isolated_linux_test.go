package isolated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// inherited is a file as this process might have been started with, a shell's pipe.
var (
	inherited     *os.File
	inheritedName string
)

// inherit opens it before anything else happens, with a number that other processes have
// no file under.
func inherit() error {
	var p [2]int
	if err := syscall.Pipe(p[:]); err != nil { // not close-on-exec
		return err
	}
	const number = 77
	if err := syscall.Dup3(p[0], number, 0); err != nil {
		return err
	}
	inherited = os.NewFile(number, "inherited")
	var err error
	inheritedName, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", number))
	return err
}

// built is the directory that holds what the tests need of Go programs.
var built string

func TestMain(m *testing.M) {
	namespaces.RunHelper()
	if err := inherit(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// testPrograms are the paths of the port proxy and of the root file system of the containers'
// image.
var testPrograms = sync.OnceValues(func() (p struct{ proxy, rootFS string }, err error) {
	if built, err = os.MkdirTemp("", "rdt"); err == nil {
		p.proxy, p.rootFS, err = realengine.Built(built)
	}
	return p, err
})

// rootless reports whether the engines of these tests are an ordinary user's: whoever runs
// the tests tests his own.
var rootless = os.Geteuid() != 0

// rootOnly skips what only root's engines have.
func rootOnly(t *testing.T) {
	t.Helper()
	if rootless {
		t.Skip("this is about root's engines")
	}
}

// An instance is an engine of a test.
type trial struct {
	t      *testing.T
	cfg    Config
	engine *Engine
}

// testConfig returns an engine with files of its own, which are removed when the test ends.
func testConfig(t *testing.T) Config {
	t.Helper()
	programs, err := testPrograms()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "rd") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	cfg := configIn(dir)
	cfg.UID, cfg.Name, cfg.Proxy = "test-"+filepath.Base(dir), "test", programs.proxy
	t.Cleanup(func() {
		if err := RemoveTree(dir); err != nil {
			t.Error(err)
		}
	})
	return cfg
}

// configIn returns an engine, root's or a user's, with its files in a directory.
func configIn(dir string) Config {
	i := &instance.Instance{Paths: instance.Paths{State: filepath.Join(dir, "state"), Data: filepath.Join(dir, "data"), Runtime: filepath.Join(dir, "run")}}
	if i.Settings.Driver = instance.DriverDockerd; rootless {
		i.Settings.Driver = instance.DriverRootless
	}
	return Config{Instance: i, Log: slog.New(slog.DiscardHandler)}
}

// copied returns an engine whose settings can be changed without the other's.
func copied(cfg Config) Config {
	i := *cfg.Instance
	cfg.Instance = &i
	return cfg
}

// refusal returns what prevents a start.
func refusal(cfg Config) error {
	return failure.Join(cfg.Check())
}

// newInstance prepares an engine and makes sure that nothing of it is left when the test
// ends.
func newInstance(t *testing.T) *trial { return newInstanceOf(t, false) }

func newInstanceOf(t *testing.T, isContainerd bool) *trial {
	t.Helper()
	realengine.NeedOwn(t)
	in := &trial{t: t, cfg: testConfig(t)}
	if isContainerd {
		in.cfg.Settings.Engine = instance.KindContainerd
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(in.cfg.Paths.EngineLog())
			t.Logf("the end of the engine's log:\n%s", log[max(0, len(log)-4000):])
		}
		if in.engine != nil {
			in.engine.Release()
		}
		if _, err := in.cfg.Cleanup(context.Background()); err != nil {
			t.Errorf("Cleanup: %v", err)
		}
		in.checkGone()
	})
	if err := refusal(in.cfg); err != nil {
		t.Fatal(err)
	}
	return in
}

// start starts the engine and waits until it answers.
func (in *trial) start() {
	in.t.Helper()
	in.has(in.cfg.Start(in.t.Context()))
	in.awaitPing()
}

// has takes over what a start or an adoption has returned.
func (in *trial) has(running processes.Running, err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
	in.engine, _ = running.(*Engine)
}

func (in *trial) awaitPing() {
	in.t.Helper()
	in.eventually("the engine answers", func() error {
		select {
		case <-in.engine.Exited():
			in.t.Fatalf("the engine has ended: %s", in.engine.LastError())
		default:
		}
		return in.ping()
	})
}

// ping returns nil if the engine answers.
func (in *trial) ping() error {
	if !in.cfg.isContainerd() {
		return ping(in.cfg.Socket())
	}
	api, err := containerd.New(in.cfg.Socket())
	if err != nil {
		return err
	}
	defer api.Close()
	_, err = api.Server(in.t.Context())
	return err
}

func ping(socket string) error {
	_, err := endpoint.Endpoint{Host: "unix://" + socket}.Ping(context.Background())
	return err
}

// eventually calls f until it returns nil.
func (in *trial) eventually(what string, f func() error) {
	in.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			in.t.Fatalf("%s: not so within a minute: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// try runs the docker CLI against the engine.
func (in *trial) try(args ...string) (string, error) {
	cmd := exec.CommandContext(in.t.Context(), "docker", append([]string{"--host", "unix://" + in.cfg.Socket()}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Dir(in.cfg.Paths.State), "HOME="+filepath.Dir(in.cfg.Paths.State),
		"DOCKER_CONTEXT=", "DOCKER_HOST=")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (in *trial) docker(args ...string) string {
	in.t.Helper()
	out, err := in.try(args...)
	if err != nil {
		in.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// importImage makes the image "app" of the tests' program: no registry is needed.
func (in *trial) importImage() {
	in.t.Helper()
	programs, err := testPrograms()
	if err != nil {
		in.t.Fatal(err)
	}
	in.docker("import", "-c", `ENTRYPOINT ["/prog"]`, programs.rootFS, "app")
}

// checkOwnSocket checks that containers of the engine that mount docker.sock get its own.
func (in *trial) checkOwnSocket() {
	in.t.Helper()
	out, err := in.try("run", "--rm", "-v", "/var/run/docker.sock:/docker.sock", "app", "ask", "/docker.sock", "/info")
	if want := in.docker("info", "-f", "{{.ID}}"); err != nil || !strings.Contains(out, want) {
		in.t.Errorf("docker.sock inside of a container: %q, %v, want the engine with the identity %s", out, err, want)
	}
}

// scan returns what runs of the engine.
func (in *trial) scan() *processes.Found {
	in.t.Helper()
	h, err := in.cfg.mode().hierarchies()
	if err != nil {
		in.t.Fatal(err)
	}
	f, err := in.cfg.processes().Scan(h)
	if err != nil {
		in.t.Fatal(err)
	}
	return f
}

// companion returns a companion that runs, the zero ID if it does not.
func (in *trial) companion(c companion) process.ID { return among(in.scan().Procs, c.is) }

// find returns the engine's only process of that name.
func (in *trial) find(comm string) process.ID {
	in.t.Helper()
	var ids []process.ID
	for _, p := range in.scan().Procs {
		if p.Comm == comm {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) != 1 {
		in.t.Fatalf("%d processes named %q: %v", len(ids), comm, ids)
	}
	return ids[0]
}

// kill ends a process and waits for that.
func (in *trial) kill(id process.ID) {
	in.t.Helper()
	if err := id.Signal(syscall.SIGKILL); err != nil {
		in.t.Fatal(err)
	}
	if err := id.Wait(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
}

// checkGone checks that nothing is left of an engine but its data, its private
// configuration and its log.
func (in *trial) checkGone() {
	in.t.Helper()
	h, err := processes.FindHierarchies()
	if err != nil {
		in.t.Fatal(err)
	}
	if f := in.scan(); len(f.Procs) > 0 {
		in.t.Errorf("processes are left: %s", processes.Describe(f.Procs))
	}
	for _, dir := range in.cfg.processes().Groups(h) {
		in.t.Errorf("cgroup %q is left", dir)
	}
	for _, path := range []string{in.cfg.Socket(), in.cfg.Paths.Exec(), in.cfg.Paths.EngineFile(), in.cfg.private(runContainerd),
		in.cfg.private(runDocker)} {
		if files.Exists(path) {
			in.t.Errorf("%q is left", path)
		}
	}
	if points, err := mounts.Below(filepath.Dir(in.cfg.Paths.State)); err != nil || len(points) > 0 {
		in.t.Errorf("mounts are left: %q, %v", points, err)
	}
}

// hostState is what an engine must leave alone.
func hostState(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	for name, argv := range map[string][]string{
		"iptables": {"iptables-save"}, "ip6tables": {"ip6tables-save"}, "links": {"ip", "-o", "link"},
		"addresses": {"ip", "-o", "address"}, "routes": {"ip", "route", "show", "table", "all"},
	} {
		if rootless && strings.Contains(name, "tables") {
			continue // not a user's to see, or to change
		}
		out, err := exec.Command(argv[0], argv[1:]...).Output()
		if err != nil {
			t.Fatalf("%v: %v", argv, err)
		}
		var lines []string
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") { // the time of the listing
				lines = append(lines, line)
			}
		}
		state[name] = strings.Join(lines, "")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	state["mounts"] = string(mounts)
	for _, path := range slices.Concat([]string{"/run/docker.pid", "/run/runc", "/run/docker", "/run/containerd", dockerSock}, hostDirs) {
		state[path] = tree(path)
		if left(path) {
			state[path] = missing // as it is without engines, of which other tests may have some
		}
	}
	for _, dir := range []string{"/proc/sys/net/ipv4", "/proc/sys/net/ipv6/conf/all", "/proc/sys/net/ipv6/conf/default",
		"/proc/sys/net/bridge", "/proc/sys/kernel/keys", "/proc/sys/fs/inotify", "/proc/sys/vm"} {
		state[dir] = sysctls(dir)
	}
	return state
}

// missing is the tree of what is not there.
const missing = "missing\n"

// left reports whether docker rd has made the path, and nobody has put anything in it since.
func left(path string) bool {
	return namespaces.Made(path) && tree(path) == emptyTree(path)
}

func emptyTree(dir string) string { return dir + " d---------\n" }

func tree(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			b.WriteString(missing)
			return nil
		}
		fmt.Fprintln(&b, path, d.Type())
		return nil
	})
	return b.String()
}

func sysctls(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&b, "%s = %s", path, data)
			}
		}
		return nil
	})
	return b.String()
}

func TestStartStop(t *testing.T) {
	in := newInstance(t)
	before := hostState(t)
	in.start()
	in.importImage()
	in.checkOwnSocket() // also where the host has no engine
	during := hostState(t)
	for _, dir := range hostDirs {
		if got, want := tree(dir), emptyTree(dir); !rootless && before[dir] == missing && got != want {
			t.Errorf("%q during: %q, want an empty directory", dir, got)
		}
	}
	if diff := cmp.Diff(before, during); diff != "" {
		t.Errorf("the host while the engine runs (-before +during):\n%s", diff)
	}

	// What the calling process has open, the engine has not.
	for _, p := range in.scan().Procs {
		if p.Comm != commDockerd && p.Comm != "containerd" {
			continue
		}
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.ID.PID, namespaces.ExitFD)); !rootless && (err != nil || !strings.HasPrefix(target, "pipe:")) {
			t.Errorf("%s: exit pipe: %q, %v", p.Comm, target, err)
		}
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.ID.PID, inherited.Fd())); err == nil && target == inheritedName {
			t.Errorf("%s has inherited %s", p.Comm, target)
		}
	}

	in.eventually("the engine is in groups of its own", func() error {
		if rootless {
			return nil // it has none
		}
		for _, p := range in.scan().Procs {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.ID.PID))
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(data)) {
				if !strings.Contains(line, "/"+in.cfg.processes().GroupName()+"/") && !strings.Contains(line, "cpuset") {
					return fmt.Errorf("%s (%s): %s", p.ID, p.Comm, line)
				}
			}
		}
		return nil
	})

	if id := in.engine.ID(); !id.Alive() || id != in.find(in.cfg.processes().Daemon) {
		t.Errorf("ID = %v", id)
	}
	if _, err := in.cfg.Start(t.Context()); !errors.Is(err, processes.ErrRunning) {
		t.Errorf("Start of a running engine: %v, want ErrRunning", err)
	}
	if msg := in.engine.LastError(); msg != "" {
		t.Errorf("LastError of a running engine: %q", msg)
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.checkGone()
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
	in.eventually("what was made is gone, or in use by other tests' engines", func() error {
		if others, err := processes.AnyRuns(); err != nil || others {
			return err
		}
		for _, path := range hostDirs {
			if left(path) {
				return fmt.Errorf("%q is left", path)
			}
		}
		return nil
	})
	if e, err := in.cfg.Adopt(t.Context()); e != nil || err != nil {
		t.Errorf("Adopt of a stopped engine: %v, %v, want nothing", e, err)
	}
	if _, err := in.cfg.Cleanup(t.Context()); err != nil {
		t.Errorf("Cleanup of a stopped engine: %v", err)
	}
}

func TestTwoEngines(t *testing.T) {
	a, b := newInstance(t), newInstance(t)
	for _, in := range []*trial{a, b} {
		in.start()
		in.importImage()
		in.docker("network", "create", "--subnet", "10.99.0.0/24", "same")
		in.docker("run", "-d", "--name", "same", "--network", "same", "-P", "--expose", "80", "app", "serve", "80")
	}
	if x, y := a.docker("info", "-f", "{{.ID}}"), b.docker("info", "-f", "{{.ID}}"); x == y {
		t.Errorf("both engines have the identity %q", x)
	}
	for _, in := range []*trial{a, b} {
		// dockerd 28 and later does not go on to another where this one is taken.
		_, chosen, err := net.SplitHostPort(in.published("same", "80/tcp"))
		if err != nil {
			t.Fatal(err)
		}
		ports, _ := namespaces.LocalPorts(in.cfg.UID)
		var first, port int
		if _, err := fmt.Sscan(ports.Value+" "+chosen, &first, new(int), &port); err != nil {
			t.Fatal(err)
		}
		if port < first || port >= first+20 { // some may be taken on the host
			t.Errorf("the first port that the engine chooses is %d, want one from %d on, which are its own", port, first)
		}
	}
	port := b.published("same", "80/tcp")
	if _, err := a.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := greeting(t, port), "hello from "+b.docker("ps", "-q")+"\n"; got != want {
		t.Errorf("the second engine's container says %q, want %q", got, want)
	}
	id := b.docker("info", "-f", "{{.ID}}")
	if _, err := b.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.start()
	if again := b.docker("info", "-f", "{{.ID}}"); again != id {
		t.Errorf("after a restart the engine's identity is %q, was %q", again, id)
	}
}

// published returns the address on loopback that a container's port is published on.
func (in *trial) published(container, port string) string {
	in.t.Helper()
	out := in.docker("port", container, port)
	first, _, _ := strings.Cut(out, "\n")
	_, number, err := net.SplitHostPort(first)
	if err != nil {
		in.t.Fatalf("docker port: %q: %v", out, err)
	}
	return net.JoinHostPort("127.0.0.1", number)
}

// greeting returns what the container says that is published at addr. The port answers
// before the container does.
func greeting(t *testing.T, addr string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(c)
		_ = c.Close()
		if len(data) > 0 && err == nil {
			return string(data)
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing comes from %s: %v", addr, err)
		}
	}
}

func TestPublishedPorts(t *testing.T) {
	in := newInstance(t)
	in.start()
	in.importImage()
	in.docker("run", "-d", "--name", "web", "--hostname", "web", "-p", "127.0.0.1::80", "-p", "[::1]::81", "-p", "0.0.0.0::80/udp", "--expose", "80",
		"app", "serve", "80")
	addr := in.published("web", "80/tcp")
	if got := greeting(t, addr); got != "hello from web\n" {
		t.Errorf("tcp: %q", got)
	}

	conn, err := net.Dial("udp", in.published("web", "80/udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in.eventually("udp is answered", func() error {
		if _, err := io.WriteString(conn, "echo"); err != nil {
			return err
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 16)
		n, err := conn.Read(buf)
		if err == nil && string(buf[:n]) != "echo" {
			return fmt.Errorf("the answer is %q", buf[:n])
		}
		return err
	})

	// From a container in the engine's own network.
	if got := in.docker("run", "--rm", "--network", "host", "app", "dial", addr); got != "hello from web" {
		t.Errorf("from the engine's network: %q", got)
	}

	// A port that a program of the host has.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := in.try("run", "--rm", "-p", l.Addr().String()+":80", "app", "serve", "80")
	if err == nil || !strings.Contains(out, "address already in use") {
		t.Errorf("a port that is taken: %v, %q", err, out)
	}
	out, err = in.try("run", "--rm", "-p", "127.0.0.1::80/sctp", "app", "serve", "80")
	// dockerd 28 and later says so itself where the kernel has none.
	if err == nil || !strings.Contains(out, "sctp port is not supported") && !strings.Contains(out, "protocol not supported") {
		t.Errorf("sctp: %v, %q", err, out)
	}

	// Nobody is needed for it but the engine.
	in.engine.Release()
	in.has(in.cfg.Adopt(t.Context()))
	if got := greeting(t, addr); got != "hello from web\n" {
		t.Errorf("after adoption: %q", got)
	}
	in.docker("rm", "-f", "web")
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port of a removed container still answers")
	}
}

// The program that serves ports may be replaced or removed while the engine runs. A proxy
// that is killed is missed.
func TestProxyIsReplaced(t *testing.T) {
	in := newInstance(t)
	program, err := os.ReadFile(in.cfg.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	in.cfg.Proxy = filepath.Join(filepath.Dir(in.cfg.Paths.State), "proxy")
	if err := os.WriteFile(in.cfg.Proxy, program, 0o755); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	var logMu sync.Mutex
	in.cfg.Log = slog.New(slog.NewTextHandler(lockedWriter{&logMu, &log}, nil))
	in.start()
	in.importImage()
	if err := os.Remove(in.cfg.Proxy); err != nil {
		t.Fatal(err)
	}
	serves := func(name string) {
		t.Helper()
		in.docker("run", "-d", "--name", name, "--hostname", name, "-p", "127.0.0.1::80", "app", "serve", "80")
		if got := greeting(t, in.published(name, "80/tcp")); got != "hello from "+name+"\n" {
			t.Errorf("the port of %s: %q", name, got)
		}
	}
	serves("removed")
	if err := os.WriteFile(in.cfg.Proxy, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	serves("replaced")
	old := in.companion(relay)
	in.kill(old)
	in.eventually("the relay runs again", func() error {
		if id := in.companion(relay); id == old || !id.Alive() {
			return errors.New("no relay")
		}
		return nil
	})

	addr := in.published("removed", "80/tcp")
	for _, p := range in.scan().Procs {
		if p.Comm == portproxy.Name && processes.HasArgument(p.ID.PID, strings.TrimPrefix(addr, "127.0.0.1:")) {
			in.kill(p.ID)
		}
	}
	in.eventually("it is said", func() error {
		logMu.Lock()
		defer logMu.Unlock()
		if !strings.Contains(log.String(), "was killed") || !strings.Contains(log.String(), addr+"/tcp") {
			return errors.New(log.String())
		}
		return nil
	})
	in.eventually("it is a problem", func() error {
		list, _ := in.engine.Problems()
		if !slices.ContainsFunc(list, func(p processes.Problem) bool { return p.Port == addr+"/tcp" && !p.Since.IsZero() }) {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
	in.docker("restart", "-t", "0", "removed")
	if got := greeting(t, in.published("removed", "80/tcp")); got != "hello from removed\n" {
		t.Errorf("after a restart: %q", got)
	}
	in.docker("rm", "-f", "removed", "replaced")
	logMu.Lock()
	defer logMu.Unlock()
	if n := strings.Count(log.String(), "was killed"); n != 1 {
		t.Errorf("%d proxies are said to be killed:\n%s", n, log.String())
	}
}

// lockedWriter is a writer for several goroutines.
type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Whether it was the engine itself, a part of it or all of it: after a kill -9 the
// next start gives containers as a plain dockerd would.
func TestKilled(t *testing.T) {
	t.Run("dockerd", func(t *testing.T) {
		in := newInstance(t)
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "always", "--restart", "always", "app", "sleep")
		in.docker("run", "-d", "--name", "no", "app", "sleep")
		in.kill(in.engine.ID())
		<-in.engine.Exited()
		in.engine.Release()
		if e, err := in.cfg.Adopt(t.Context()); e != nil || err != nil {
			t.Errorf("Adopt: %v, %v, want nothing", e, err)
		}
		in.start()
		in.eventually("the container that is always restarted runs", func() error {
			if state := in.docker("inspect", "-f", "{{.State.Status}}", "always"); state != "running" {
				return errors.New(state)
			}
			return nil
		})
		if state := in.docker("inspect", "-f", "{{.State.Status}}", "no"); state != "exited" {
			t.Errorf("the other container: %s", state)
		}
	})

	t.Run("dockerd with live-restore", func(t *testing.T) {
		rootOnly(t)
		in := newInstance(t)
		in.cfg.Settings.EngineArgs = []string{"--live-restore"}
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "web", "--hostname", "web", "-p", "127.0.0.1::80", "app", "serve", "80")
		pid := in.docker("inspect", "-f", "{{.State.Pid}}", "web")
		in.kill(in.engine.ID())
		in.engine.Release()
		in.start()
		if now := in.docker("inspect", "-f", "{{.State.Pid}} {{.State.Status}}", "web"); now != pid+" running" {
			t.Errorf("the container: %q, was %s", now, pid)
		}
		if err := in.connected(process.ID{}); err != nil {
			t.Errorf("the next process finds %v", err) // it would start another one
		}
		if got := greeting(t, in.published("web", "80/tcp")); got != "hello from web\n" {
			t.Errorf("its published port: %q", got)
		}
		// From outside of it: its network is the engine's.
		ip := in.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web")
		if got := in.docker("run", "--rm", "app", "dial", ip+":80"); got != "hello from web" {
			t.Errorf("from another container: %q", got)
		}
		if _, err := in.engine.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		in.checkGone()
	})

	t.Run("containerd", func(t *testing.T) {
		in := newInstance(t)
		in.start()
		in.importImage()
		in.kill(in.find("containerd"))
		in.eventually("containers run", func() error {
			out, err := in.try("run", "--rm", "app", "cat", "/etc/hostname")
			if err != nil {
				return errors.New(out)
			}
			return nil
		})
	})

	t.Run("dockerd alone", func(t *testing.T) {
		in := newInstance(t)
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "no", "app", "sleep")
		in.kill(in.find(commDockerd))
		<-in.engine.Exited()
		if rootless {
			in.eventually("all of it has ended", func() error {
				if f := in.scan(); len(f.Procs) > 0 {
					return errors.New(processes.Describe(f.Procs))
				}
				return nil
			})
		}
	})

	t.Run("the relay", func(t *testing.T) {
		in := newInstance(t)
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "web", "--hostname", "web", "-p", "127.0.0.1::80", "app", "serve", "80")
		old := in.companion(relay)
		in.kill(old)
		if got := greeting(t, in.published("web", "80/tcp")); got != "hello from web\n" {
			t.Errorf("a port that is published already: %q", got)
		}
		in.eventually("it is started again", func() error {
			if id := in.companion(relay); id == old || !id.Alive() {
				return errors.New("no relay")
			}
			return nil
		})
		in.docker("run", "-d", "--name", "two", "--hostname", "two", "-p", "127.0.0.1::80", "app", "serve", "80")
		if got := greeting(t, in.published("two", "80/tcp")); got != "hello from two\n" {
			t.Errorf("a port that is published then: %q", got)
		}
		in.engine.Release()

		// While nobody looks after the engine.
		old = in.companion(relay)
		in.kill(old)
		in.has(in.cfg.Adopt(t.Context()))
		if id := in.companion(relay); id == old || !id.Alive() {
			t.Error("after adoption there is no relay")
		}
	})

	t.Run("everything", func(t *testing.T) {
		in := newInstance(t)
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "always", "--restart", "always", "app", "sleep")
		in.engine.Release()
		f := in.scan()
		for _, p := range f.Procs {
			_ = p.ID.Signal(syscall.SIGKILL)
		}
		for _, p := range f.Procs {
			if err := p.ID.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// The numbers have gone to another process meanwhile.
		for _, path := range []string{in.cfg.pidFile(), filepath.Join(in.cfg.Paths.Exec(), "containerd", "containerd.pid")} {
			if err := os.WriteFile(path, fmt.Append(nil, os.Getpid()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		in.start()
		in.eventually("the container runs", func() error {
			if state := in.docker("inspect", "-f", "{{.State.Status}}", "always"); state != "running" {
				return errors.New(state)
			}
			return nil
		})
	})
}

// inside returns a command that runs in namespaces of the engine.
func (in *trial) inside(namespace string, argv ...string) *exec.Cmd {
	args := []string{"--target", strconv.Itoa(in.engine.ID().PID), namespace}
	if rootless {
		args = append(args, "--user", "--preserve-credentials")
	}
	return exec.Command("nsenter", append(args, argv...)...)
}

// connected reports whether a slirp4netns runs for the engine that is not old.
func (in *trial) connected(old process.ID) error {
	in.t.Helper()
	if id := in.companion(slirp); id == old || !id.Alive() {
		return errors.New("no slirp4netns")
	}
	links, err := in.inside("--net", "ip", "-o", "address", "show", "tap0").CombinedOutput()
	if err != nil || !bytes.Contains(links, []byte("10.")) {
		return fmt.Errorf("tap0: %w: %s", err, links)
	}
	return nil
}

// What an engine goes through of which nothing but its daemon runs.
func TestEachKind(t *testing.T) {
	for _, kind := range []string{commDockerd, "containerd"} {
		t.Run(kind, func(t *testing.T) {
			in := newInstanceOf(t, kind == "containerd")
			before := hostState(t)
			in.start()
			in.slirpIsKilled()
			in.recordIsLost()
			in.squats()
			if _, err := in.engine.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			in.checkGone()
			if diff := cmp.Diff(before, hostState(t)); diff != "" {
				t.Errorf("the host (-before +after):\n%s", diff)
			}
		})
	}
}

// adopt looks after the engine, as another process would.
func (in *trial) adopt() {
	in.t.Helper()
	in.has(in.cfg.Adopt(in.t.Context()))
}

func (in *trial) slirpIsKilled() {
	in.t.Helper()
	old := in.find("slirp4netns")
	in.kill(old)
	in.eventually("it is started again", func() error { return in.connected(old) })
	in.engine.Release()

	// While nobody looks after the engine.
	old = in.find("slirp4netns")
	in.kill(old)
	in.adopt()
	if err := in.connected(old); err != nil {
		in.t.Errorf("after adoption: %v", err)
	}
}

func (in *trial) recordIsLost() {
	in.t.Helper()
	id := in.engine.ID()
	in.engine.Release()
	if err := os.Remove(in.cfg.Paths.EngineFile()); err != nil {
		in.t.Fatal(err)
	}
	if _, err := in.cfg.Start(in.t.Context()); !errors.Is(err, processes.ErrRunning) {
		in.t.Errorf("Start: %v, want ErrRunning", err)
	}
	in.adopt()
	if in.engine.ID() != id {
		in.t.Errorf("adopted %v, want %v", in.engine.ID(), id)
	}
}

// squats checks that an instance that is recreated in place of one whose files were removed by
// hand leaves that one's engine, which still runs, alone, and so does who cleans up after it.
func (in *trial) squats() {
	in.t.Helper()
	recreated := copied(in.cfg)
	recreated.UID += "-2"
	_, err := recreated.Start(in.t.Context())
	if failure.Code(err) != failure.CodeRefused || !strings.Contains(err.Error(), in.find(in.cfg.program().comm).String()) {
		in.t.Errorf("Start = %v, want it refused with the engine named", err)
	}
	if _, err := recreated.Cleanup(in.t.Context()); err != nil {
		in.t.Error(err)
	}
	if err := in.ping(); err != nil {
		in.t.Errorf("the engine: %v", err)
	}
	if !files.Exists(in.cfg.Paths.Exec()) {
		in.t.Error("the engine's runtime directory is gone")
	}
}

// Engines beside each other have random ports of their own, many at once too: each would
// try the first few that another has, and give up.
func TestRandomPortsOfTwo(t *testing.T) {
	a, b := newInstance(t), newInstance(t)
	a.cfg.UID, b.cfg.UID = "test-ports-1", "test-ports-2" // which begin at different ports
	for _, in := range []*trial{a, b} {
		in.start()
		in.importImage()
		in.docker("run", "-d", "--name", "many", "--expose", "1-20", "-P", "app", "sleep")
	}
}

// What is written for the moment is not left in the host's directory for it.
func TestTempDir(t *testing.T) {
	in := newInstance(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	in.start()
	containerd := in.find("containerd")
	const dump = "containerd.*.stacks.log"                     // with its number, in its pid namespace
	if err := containerd.Signal(syscall.SIGUSR1); err != nil { // dockerd does that to one that does not answer
		t.Fatal(err)
	}
	in.eventually("containerd dumps its stacks", func() error {
		if there, _ := filepath.Glob(filepath.Join(temp, dump)); len(there) > 0 {
			t.Fatal("it does so in the host's directory")
		}
		if here, _ := filepath.Glob(filepath.Join(in.cfg.Paths.Exec(), "tmp", dump)); len(here) == 0 {
			return errors.New("no dump")
		}
		return nil
	})
}

// foreignGroup returns a control group that is not the engine's, for containers. At the end
// of the test nothing may be left in it.
func (in *trial) foreignGroup() string {
	group := "/" + in.cfg.UID
	in.t.Cleanup(func() {
		h, err := processes.FindHierarchies()
		if err != nil {
			in.t.Fatal(err)
		}
		for _, root := range h.All() {
			if pids := processes.Members(filepath.Join(root, group)); len(pids) > 0 {
				in.t.Errorf("processes are left in %s: %v", group, pids)
			}
			// runc made it, for the user who named it.
			if err := processes.RemoveGroup(filepath.Join(root, group)); err != nil {
				in.t.Error(err)
			}
		}
	})
	return group
}

// runDaemon runs a container that has a process of another session, and returns once it has.
func (in *trial) runDaemon(name string, args ...string) {
	in.t.Helper()
	in.docker(slices.Concat([]string{"run", "-d", "--name", name}, args, []string{"app", "daemon"})...)
	in.eventually("the process of another session runs", func() error {
		if out, err := in.try("logs", name); err != nil || !strings.Contains(out, "up") {
			return fmt.Errorf("container %s says %q: %v", name, out, err)
		}
		return nil
	})
}

// ended fails the test for each of the processes that is left.
func (in *trial) ended(procs []processes.Proc) {
	in.t.Helper()
	for _, p := range procs {
		if p.ID.Alive() {
			in.t.Errorf("%s is left", processes.Describe([]processes.Proc{p}))
		}
	}
}

// What containers can do to outlive their engine.
func TestEscapees(t *testing.T) {
	in := newInstance(t)
	in.start()
	in.importImage()
	in.docker("run", "-d", "--name", "bb", "app", "sigterm-proof")
	if rootless { // without control groups
		in.runDaemon("aa", "--pid", "host")
		in.runDaemon("cc", "--privileged")
	} else {
		other := in.foreignGroup()
		in.runDaemon("aa", "--pid", "host", "--cgroup-parent", other)
		in.docker("pause", "bb") // the kernel ends no frozen process
		in.runDaemon("cc", "--cgroupns", "host", "--cgroup-parent", other)
	}
	procs := in.scan().Procs
	if apps := slices.DeleteFunc(slices.Clone(procs), func(p processes.Proc) bool { return p.Comm != "prog" && p.Comm != "exe" }); len(apps) != 5 {
		t.Errorf("the scan finds %d of 5 container processes: %s", len(apps), processes.Describe(procs))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no time for a clean end
	if _, err := in.engine.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	in.ended(procs)
	in.checkGone()
}

// A container that dockerd was ending when it was killed may have nothing left but a process
// in a control group that the engine does not own.
func TestEscapeeOfEndedShim(t *testing.T) {
	rootOnly(t) // an ordinary user's ends with the engine, whatever it does
	in := newInstance(t)
	in.start()
	in.importImage()
	in.runDaemon("aa", "--pid", "host", "--cgroup-parent", in.foreignGroup())
	f := in.scan()
	for _, p := range f.Procs {
		if p.Comm != "exe" {
			_ = p.ID.Signal(syscall.SIGKILL)
		}
	}
	in.engine.Release()
	if err := in.cfg.cleanup(t.Context(), f.Groups); err != nil {
		t.Fatal(err)
	}
	in.ended(f.Procs)
	in.checkGone()
}

func TestFailedStart(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		args       []string
		want       string
	}{
		{"unknown flag", "", []string{"--no-such-flag"}, "unknown flag: --no-such-flag"},
		{"unknown key", `{"no-such-key": 1}`, nil, "no-such-key"},
		{"flag and key", `{"debug": true}`, []string{"--debug"}, "specified both as a flag and in the configuration file: debug"},
		{"bad value", "", []string{"--exec-opt", "native.cgroupdriver=nosuch"}, "cgroupdriver"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := newInstance(t)
			in.cfg.Settings.EngineArgs = tc.args
			if tc.file != "" {
				in.cfg.Settings.DaemonConfig = filepath.Join(filepath.Dir(in.cfg.Paths.State), "mine.json")
				if err := os.WriteFile(in.cfg.Settings.DaemonConfig, []byte(tc.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var got string
			if running, err := in.cfg.Start(t.Context()); err != nil { // it ended at once
				got = err.Error()
			} else {
				in.has(running, nil)
				select {
				case <-in.engine.Exited():
				case <-time.After(time.Minute):
					t.Fatal("the engine runs")
				}
				got = in.engine.LastError()
			}
			if !strings.Contains(got, tc.want) || strings.Contains(got, "\n") {
				t.Errorf("the error is %q, want one line with %q", got, tc.want)
			}
			if strings.Contains(got, in.cfg.private(daemonJSON)) {
				t.Errorf("the error %q names a file that is not the user's", got)
			}
			t.Log(got)
			if _, err := in.cfg.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			in.checkGone()
		})
	}
}

func TestStartIsCancelled(t *testing.T) {
	in := newInstance(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.cfg.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v, want Canceled", err)
	}
	in.checkGone()
}

// hostEnv is set in a test that runs in namespaces that play the host.
const hostEnv = "DOCKERD_TEST_HOST"

// playHost runs the test once more, in network and mount namespaces of its own that play the
// host, and reports whether this is that run. Their /run is empty, the files of /etc can be
// replaced, and there is no docker.
func playHost(t *testing.T) bool {
	t.Helper()
	realengine.Need(t)
	if os.Getenv(hostEnv) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), hostEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
			t.Errorf("on the played host: %v\n%s", err, out)
		}
		return false
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
	must(t, syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	const layers = "/run/layers"
	must(t, os.Mkdir(layers, 0o755))
	must(t, syscall.Mount("tmpfs", layers, "tmpfs", 0, ""))
	must(t, os.Mkdir(layers+"/upper", 0o755))
	must(t, os.Mkdir(layers+"/work", 0o755))
	must(t, syscall.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir="+layers+"/upper,workdir="+layers+"/work"))
	must(t, syscall.Unmount(layers, syscall.MNT_DETACH))
	must(t, os.Remove(layers))
	must(t, os.RemoveAll("/etc/docker"))
	// As with systemd: what is mounted later can be seen in other namespaces.
	must(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""))
	return true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A host with an engine and a containerd of its own at their usual places, with a
// daemon.json that no second engine could use.
func TestBesideHostEngine(t *testing.T) {
	if !playHost(t) {
		return
	}
	must := func(err error) { t.Helper(); must(t, err) }
	must(os.MkdirAll("/etc/docker/certs.d/registry.example", 0o755))
	must(os.WriteFile("/etc/docker/daemon.json", []byte(`{"hosts": ["tcp://127.0.0.1:2"]}`), 0o600))
	// As systemd-resolved has it, which starts later.
	const resolver = "/run/systemd/resolve/stub-resolv.conf"
	must(os.RemoveAll(filepath.Dir(resolver)))
	must(os.MkdirAll(filepath.Dir(filepath.Dir(resolver)), 0o755))
	must(os.RemoveAll("/etc/resolv.conf"))
	must(os.Symlink(resolver, "/etc/resolv.conf"))
	dir, err := os.MkdirTemp("/tmp", "rdhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the programs below have ended, which write there
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	run := func(name string, args ...string) (stop func()) {
		cmd := exec.Command(name, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop = sync.OnceFunc(func() {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		})
		t.Cleanup(stop)
		return stop
	}
	run("containerd", "--root", filepath.Join(dir, "containerd"))
	host := &trial{t: t, cfg: configIn(dir)}
	host.cfg.Paths.Runtime = filepath.Dir(dockerSock)
	host.eventually("the host's containerd listens", func() error {
		c, err := net.Dial("unix", "/run/containerd/containerd.sock")
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	startHost := func() (stop func()) {
		stop = run("dockerd", "--data-root", filepath.Join(dir, "data"), "--config-file", filepath.Join(dir, "daemon.json"))
		host.eventually("the host's engine answers", func() error { return ping(dockerSock) })
		return stop
	}
	stopHost := startHost()

	in := newInstance(t)
	before := hostState(t)
	in.start()
	in.importImage()
	in.docker("run", "-d", "--name", "web", "--hostname", "web", "-p", "127.0.0.1:8099:80", "app", "serve", "80")
	if got := greeting(t, "127.0.0.1:8099"); got != "hello from web\n" {
		t.Errorf("published port: %q", got)
	}
	if x, y := host.docker("info", "-f", "{{.ID}}"), in.docker("info", "-f", "{{.ID}}"); x == y {
		t.Errorf("both engines have the identity %q", x)
	}
	if got := host.docker("ps", "-aq"); got != "" {
		t.Errorf("the host's engine has containers: %q", got)
	}
	if got := in.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bridge"); got == "172.17.0.0/16" {
		t.Errorf("the subnet %s is the host engine's", got)
	}
	in.checkOwnSocket()
	if root := fmt.Sprintf("/proc/%d/root", in.engine.ID().PID); !files.Exists(root + "/etc/docker/certs.d/registry.example") {
		t.Error("the host's registry certificates are missing inside")
	}
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("the host while the engine runs (-before +during):\n%s", diff)
	}

	must(os.Mkdir(filepath.Dir(resolver), 0o755))
	in.checkResolvConf(resolver, "first.example")

	// What the host replaces is replaced inside too, and not by the host's.
	stopHost()
	in.checkOwnSocket()
	startHost()
	before = hostState(t)
	in.checkOwnSocket()
	in.checkResolvConf(resolver, "after.example")

	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ping(dockerSock); err != nil {
		t.Errorf("the host's engine, afterwards: %v", err)
	}
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("the host (-before +after):\n%s", diff)
	}
}

// checkResolvConf replaces the host's resolv.conf, at its real path, and waits for the engine's.
func (in *trial) checkResolvConf(path, search string) {
	in.t.Helper()
	must(in.t, os.WriteFile(path+".new", fmt.Appendf(nil, "nameserver 127.0.0.53\nsearch %s\n", search), 0o644))
	must(in.t, os.Rename(path+".new", path))
	in.eventually("resolv.conf is the engine's own inside", func() error {
		out, err := in.inside("--mount", "cat", "/etc/resolv.conf").CombinedOutput()
		if want := fmt.Sprintf("nameserver %s\nsearch %s\n", in.engine.rec.Subnets.DNS(), search); string(out) != want {
			err = fmt.Errorf("it is %q, want %q: %w", out, want, err)
		}
		return err
	})
}
