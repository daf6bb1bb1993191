//go:build linux

package clients

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

const (
	// dirVar names the directory in which scripts/install-clients has installed.
	dirVar = "CLIENTS_DIR"
	// binVar names the directory with docker-rd.
	binVar = "CLIENTS_BIN"
	// insideVar says that this process has namespaces of its own.
	insideVar = "CLIENTS_INSIDE"
)

// The test runs in namespaces of its own: clients see no other engine's socket, and reach
// no network.
func TestMain(m *testing.M) {
	if os.Getenv(dirVar) == "" || os.Getenv(insideVar) != "" {
		os.Exit(m.Run())
	}
	const script = `mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"`
	args := append([]string{"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"}, os.Args...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A stage is a machine with an engine, on which a user has docker rd.
type stage struct {
	dir      string
	env      []string
	clients  string              // the directory of the installed ones
	host     *realengine.Dockerd // nil if there is none
	hostLog  string
	rootfs   string
	dockers  map[string]string // by version, and the "newest"
	programs map[string]string // what is not on everyone's PATH
}

// needClients skips a test where the clients are not installed.
func needClients(t *testing.T) {
	t.Helper()
	realengine.NeedOwn(t)
	if os.Getenv(dirVar) == "" {
		t.Skip("`make clients` installs the clients and runs this")
	}
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{clients: os.Getenv(dirVar)}
	var err error
	if s.dir, err = os.MkdirTemp("/tmp", "rdc"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.dir) })

	home := filepath.Join(s.dir, "home")
	plugins := filepath.Join(home, ".docker", "cli-plugins")
	bin := os.Getenv(binVar)
	for _, dir := range []string{plugins, filepath.Join(home, ".config", "act"), filepath.Join(s.dir, "tmp"), filepath.Join(s.dir, "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"docker-rd": filepath.Join(bin, "docker-rd"), "docker-compose": s.installed("docker-compose-v2"), "docker-buildx": s.installed("docker-buildx"),
	} {
		if err := os.Symlink(target, filepath.Join(plugins, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.programs = map[string]string{"docker-rd": filepath.Join(bin, "docker-rd")}
	s.env = []string{
		"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "LANG=C.UTF-8",
		"TMPDIR=" + filepath.Join(s.dir, "tmp"), // some leave files there
		// It would remove the containers that tests look for: see testReaper.
		"TESTCONTAINERS_RYUK_DISABLED=true",
	}
	// It asks for the size of images where it has none, and wants to listen where others
	// reach it.
	s.write("home/.config/act/actrc", "--container-daemon-socket -\n--reuse\n--no-cache-server\n--cache-server-addr 127.0.0.1\n--artifact-server-addr 127.0.0.1\n")
	s.findDockers(t)
	s.makeRootFS(t)
	return s
}

// startHost starts the host's engine.
func (s *stage) startHost(t *testing.T) {
	t.Helper()
	dir := filepath.Join(s.dir, "h")
	var err error
	if s.host, err = realengine.StartDockerd(t.Context(), dir, "--debug"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.host.Close(); err != nil {
			t.Error(err)
		}
	})
	s.hostLog = filepath.Join(dir, "dockerd.log")
}

func (s *stage) installed(name string) string { return filepath.Join(s.clients, name) }

// findDockers finds docker commands: on the PATH, and the distribution's, which a newer one
// may hide.
func (s *stage) findDockers(t *testing.T) {
	s.dockers = map[string]string{}
	for _, dir := range append([]string{"/usr/bin"}, filepath.SplitList(os.Getenv("PATH"))...) {
		path := filepath.Join(dir, "docker")
		out, err := exec.Command(path, "--version").Output() // "Docker version 28.2.2, build e6534b4"
		if err != nil {
			continue
		}
		version, _, _ := strings.Cut(strings.TrimPrefix(string(out), "Docker version "), ",")
		version, _, _ = strings.Cut(version, "+")
		if s.dockers[version] == "" {
			s.dockers[version] = path
		}
		if newest := s.dockers["newest"]; newest == "" || newest == "/usr/bin/docker" {
			s.dockers["newest"] = path
		}
	}
	if len(s.dockers) == 0 {
		t.Fatal("no docker command is installed")
	}
}

// makeRootFS makes the file system of the image: the tests' program, and what act's
// containers have to have.
func (s *stage) makeRootFS(t *testing.T) {
	t.Helper()
	root := filepath.Join(s.dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	rootFS, err := realengine.RootFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("tar", "-C", root, "-xf", "-")
	unpack.Stdin = bytes.NewReader(rootFS)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "tail", "mkdir", "rm", "cat", "chown", "chmod", "id", "ls", "test"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	s.rootfs = filepath.Join(s.dir, "rootfs.tar")
	if out, err := exec.Command("tar", "-C", root, "-cf", s.rootfs, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
}

// load makes the image in an instance.
func (s *stage) load(t *testing.T, instance string) {
	t.Helper()
	s.docker(t, instance, "import", "--change", "ENV PATH=/bin", s.rootfs, image)
}

// ryukImage is what the library has for its reaper.
const ryukImage = "testcontainers/ryuk:0.14.0"

// testReaper has testcontainers' reaper, a container that has the engine's socket, remove what the
// library has left: the socket is that of the instance whose container it is.
func (s *stage) testReaper(t *testing.T, instance, name string, below ...string) {
	t.Helper()
	s.docker(t, instance, "import", "--change", `CMD ["/ryuk"]`, "--change", "EXPOSE 8080", s.installed("ryuk.tar"), ryukImage)
	cmd := s.command(append(below, s.installed("testcontainers-go"), name, image, "/prog", "exit", "0")...)
	cmd.Env = append(slices.Clone(cmd.Env), "TESTCONTAINERS_RYUK_DISABLED=false",
		"TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1") // else it looks for ports elsewhere where the tests run in a container
	before := s.hostCalls(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if calls := s.hostCalls(t); calls != before {
		t.Errorf("the host's engine was reached:\n%s", strings.TrimPrefix(calls, before))
	}
	reaped := false
	for end := time.Now().Add(patience); !reaped && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		reaped = s.docker(t, instance, "container", "ls", "-aq", "--filter", "name="+name, "--filter", "label=org.testcontainers=true") == ""
	}
	if !reaped {
		t.Errorf("%s is not removed:\n%s", name, s.docker(t, instance, "container", "ls", "-a"))
	}
	// It was there: the engine reports its end, soon after it has left the list.
	events := ""
	for end := time.Now().Add(patience); !strings.Contains(events, "org.testcontainers=true"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the library's container was never there: %q", events)
		}
		events = s.docker(t, instance, "events", "--since", "1h", "--until", "0s", "--filter", "event=destroy", "--filter", "container="+name)
	}
}

// hostCalls returns what the host's engine has been asked, one line each; "" if there is none.
func (s *stage) hostCalls(t *testing.T) string {
	t.Helper()
	if s.host == nil {
		return ""
	}
	data, err := os.ReadFile(s.hostLog)
	if err != nil {
		t.Fatal(err)
	}
	var calls strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "Calling ") || strings.Contains(line, "handling ") {
			calls.WriteString(line)
		}
	}
	if calls.Len() == 0 {
		t.Fatal("the host's engine tells nothing of what it is asked, not even of our own first ping")
	}
	return calls.String()
}
