//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/docker-rd/docker-rd/internal/mounts"
	"github.com/docker-rd/docker-rd/internal/relay"
	"github.com/docker-rd/docker-rd/internal/test/browser"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/fakelima"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
	"github.com/docker-rd/docker-rd/internal/test/shown"
	"github.com/docker-rd/docker-rd/internal/test/stateschema"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// update makes the scripts' golden files what the program prints now.
var update = os.Getenv("UPDATE_GOLDEN") != ""

// The test binary is what scripts run beside docker-rd.
func TestMain(m *testing.M) {
	endpointtest.Main()
	testscript.Main(withProgram{m}, map[string]func(){
		"fake-engine":  fakeEngine,
		"fake-limactl": fakelima.Main,
		"hung-fs":      hungFS,
	})
}

// withProgram has docker-rd on the PATH while tests run.
type withProgram struct{ *testing.M }

func (m withProgram) Run() int {
	fake, err := exec.LookPath("fake-engine")
	if err == nil {
		err = makeProgram(filepath.Join(filepath.Dir(fake), "docker-rd"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// programEnv names docker-rd as it was built before, for tests that run others again.
const programEnv = "DOCKER_RD_TEST_PROGRAM"

// makeProgram makes docker-rd at path, built as the tests are. It is a program of its own, which
// starts in less than half of the time that the test binary takes.
func makeProgram(path string) error {
	if built := os.Getenv(programEnv); built != "" {
		return os.Symlink(built, path)
	}
	args := []string{"build", "-buildvcs=false", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../../internal/test/shown/docker-rd")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build docker-rd: %w\n%s", err, out)
	}
	return os.Setenv(programEnv, path)
}

// fakeEngine runs a fake engine on the socket that is its argument until it is told to
// end, with the objects of the JSON file that may follow (fakeengine.Objects). Scripts
// stop it with SIGSTOP to make it hang.
func fakeEngine() {
	e, err := fakeengine.Start(os.Args[1] + ".tmp")
	if err == nil && len(os.Args) > 2 {
		err = addObjects(e, os.Args[2])
	}
	if err == nil { // it must not be seen before it is complete
		err = os.Rename(os.Args[1]+".tmp", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer os.Remove(os.Args[1])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	_ = e.Close()
}

// Scripts run docker-rd by itself, against a fake engine.
func TestScript(t *testing.T) { runScripts(t, "../../testdata/script", "", "") }

// Scripts of docker go through every docker command that is installed.
func TestScriptDocker(t *testing.T) {
	clis := dockerCLIs()
	if len(clis) == 0 {
		t.Fatal("no docker command is installed")
	}
	for version, path := range clis {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			runScripts(t, "../../testdata/script/docker", path, "")
		})
	}
}

// Scripts of engines run a real dockerd: root's, or an ordinary user's. The scripts of docker show
// what differs by its version: here the newest is enough.
func TestScriptEngine(t *testing.T) {
	needEngines(t)
	clis := dockerCLIs()
	if len(clis) == 0 {
		t.Fatal("no docker command is installed")
	}
	newest := slices.Max(slices.Collect(maps.Keys(clis)))
	t.Run("kinds", func(t *testing.T) {
		t.Parallel()
		runScripts(t, kinds, "", "dockerd")
	})
	t.Run(newest, func(t *testing.T) {
		t.Parallel()
		runScripts(t, "../../testdata/script/engine", clis[newest], "dockerd")
	})
}

// kinds are scripts that run for each kind of engine: a dockerd, and a containerd.
const kinds = "../../testdata/script/kinds"

// Scripts of containerd run a real one: root's, or an ordinary user's.
func TestScriptContainerd(t *testing.T) {
	needEngines(t)
	needImages(t)
	t.Run("kinds", func(t *testing.T) {
		t.Parallel()
		runScripts(t, kinds, "", "containerd")
	})
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		runScripts(t, "../../testdata/script/containerd", "", "containerd")
	})
}

// Scripts of nerdctl run the one of `make nerdctl`, which takes long to build.
func TestScriptNerdctl(t *testing.T) {
	if os.Getenv("NERDCTL") == "" {
		t.Skip("`make nerdctl` runs it")
	}
	needEngines(t)
	needImages(t)
	runScripts(t, "../../testdata/script/nerdctl", "", "containerd")
}

// needImages makes archives of images for scripts.
func needImages(t *testing.T) {
	t.Helper()
	rootFS, err := os.ReadFile(os.Getenv("ROOTFS"))
	if err != nil {
		t.Fatal(err)
	}
	for name, variable := range map[string]string{"docker.io/library/prog:1": "IMAGE", "docker.io/library/other:2": "OTHER_IMAGE"} {
		archive, err := realengine.ImageArchive(rootFS, name, "by-a-test")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), variable+".tar")
		if err := os.WriteFile(path, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(variable, path)
	}
}

// ofKind has `docker-rd start` start an engine of a kind.
const ofKind = `#!/bin/sh
case $1 in start) shift; set -- start --engine %s "$@" ;; esac
exec %s "$@"
`

// needEngines makes what own engines take.
func needEngines(t *testing.T) {
	realengine.NeedOwn(t)
	self, err := exec.LookPath("docker-rd")
	if err != nil {
		t.Fatal(err)
	}
	proxy, rootFS, err := realengine.Built(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// The proxy belongs beside docker-rd.
	data, err := os.ReadFile(proxy)
	if err == nil {
		err = os.WriteFile(filepath.Join(filepath.Dir(self), filepath.Base(proxy)), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROOTFS", rootFS)
}

// dockerCLIs returns the docker commands of this system by version: those on the PATH
// and the distribution's, which a newer one may hide.
func dockerCLIs() map[string]string {
	clis := map[string]string{}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		path := filepath.Join(dir, "docker")
		version := clientVersion(path)
		if _, ok := clis[version]; !ok && version != "" {
			clis[version] = path
		}
	}
	return clis
}

// clientVersion returns the version of a docker command, "" if there is none.
func clientVersion(path string) string {
	// `docker version` would ask the engine too, which may hang.
	out, _ := exec.Command(path, "--version").Output() // "Docker version 28.2.2, build e6534b4"
	_, version, _ := strings.Cut(string(out), "version ")
	version, _, _ = strings.Cut(strings.TrimSpace(version), ",")
	return version
}

// runScripts runs the scripts of a directory, with a docker command, for engines of a kind.
func runScripts(t *testing.T, dir, docker, kind string) {
	bin := t.TempDir()
	if dir == kinds && kind == "containerd" {
		self, err := exec.LookPath("docker-rd")
		if err == nil {
			err = os.WriteFile(filepath.Join(bin, "docker-rd"), fmt.Appendf(nil, ofKind, kind, self), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if docker != "" {
		if err := os.Symlink(docker, filepath.Join(bin, "docker")); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       update,
		Condition:           func(c string) (bool, error) { return condition(c, docker, kind) },
		Setup:               func(e *testscript.Env) error { return setup(e, bin, docker != "") },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"hint":    hint,
			"until":   until,
			"signal":  sendSignal,
			"replace": replace,
			"sub":     substitute,
			"listen":  listen,
			"lock":    lockFile,
			"browser": browse,
			"tls":     func(ts *testscript.TestScript, neg bool, args []string) { serveTLS(t, ts, neg, args) },
			"sshd":    func(ts *testscript.TestScript, neg bool, args []string) { serveSSH(t, ts, docker, neg, args) },
			"lima":    func(ts *testscript.TestScript, neg bool, args []string) { installLima(t, ts, neg, args) },
			"daemon":  daemon,
		},
	})
}

// condition knows "docker:VERSION", whether the docker command is of a version, "kind:KIND", whether
// the engines are of a kind, and "root" and "user", whether that is who runs the scripts.
func condition(c, docker, kind string) (bool, error) {
	if wanted, ok := strings.CutPrefix(c, "kind:"); ok {
		return wanted == kind, nil
	}
	switch c {
	case "root": // whose engines these are
		return os.Geteuid() == 0, nil
	case "user":
		return os.Geteuid() != 0, nil
	}
	version, ok := strings.CutPrefix(c, "docker:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", c)
	}
	return strings.HasPrefix(clientVersion(docker), version), nil
}

// setup gives each script a home, a Docker configuration and a DOCKER_RD_HOME of its
// own, and sees to it that no process outlives it.
func setup(e *testscript.Env, bin string, docker bool) error {
	// Sockets' paths are short, those of tests are not.
	home, err := os.MkdirTemp("/tmp", "rd")
	if err != nil {
		return err
	}
	config := filepath.Join(e.WorkDir, "docker")
	errorsDir := filepath.Join(e.WorkDir, ".errors")
	for _, dir := range []string{filepath.Join(config, "cli-plugins"), filepath.Join(e.WorkDir, "home"), errorsDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("DOCKER_CONFIG", config)
	e.Setenv("DOCKER_RD_HOME", home)
	e.Setenv("E", filepath.Join(home, "e.sock")) // for the fake engine
	e.Setenv("DOCKER_RD_DEFAULT_SOCKETS", filepath.Join(home, "default.sock"))
	e.Setenv(shown.DefaultHostEnv, "unix://"+filepath.Join(home, "none.sock"))
	e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
	e.Setenv("S", filepath.Join(home, "state", "instances", "default", "state.json"))
	for _, name := range []string{"ROOTFS", "IMAGE", "OTHER_IMAGE"} {
		e.Setenv(name, os.Getenv(name))
	}
	e.Setenv("TZ", "UTC")
	e.Setenv(shown.Env, errorsDir)
	// Every command would sleep for a second at its end.
	e.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	if docker {
		plugin, err := lookPath("docker-rd", e.Getenv("PATH"))
		if err != nil {
			return err
		}
		if err := os.Symlink(plugin, filepath.Join(config, "cli-plugins", "docker-rd")); err != nil {
			return err
		}
	}
	t := e.T()
	judge := watchStates(home)
	e.Defer(func() {
		if err := errors.Join(judge(), shown.Wrong(errorsDir), cleanUp(home)); err != nil {
			t.Log(err)
			t.FailNow()
		}
	})
	return nil
}

// watchStates holds the state files below home against their schema, whenever it sees
// another one, until judge is called, which returns what was wrong. What scripts have
// damaged is left out.
func watchStates(home string) (judge func() error) {
	seen, wrong := map[string]time.Time{}, []error(nil)
	look := func() {
		paths, _ := filepath.Glob(filepath.Join(home, "state", "instances", "*", "state.json"))
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil || info.ModTime().Equal(seen[path]) {
				continue
			}
			seen[path] = info.ModTime()
			content, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			if _, err := state.Parse(path, content); err != nil {
				continue
			}
			if err := stateschema.Validate(content); err != nil {
				wrong = append(wrong, fmt.Errorf("%w\n%s", err, content))
			}
		}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.Tick(100 * time.Millisecond); ; {
			look()
			select {
			case <-tick:
			case <-done:
				return
			}
		}
	}()
	return func() error {
		close(done)
		<-ended
		look()
		return errors.Join(wrong...)
	}
}

func lookPath(name, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if p := filepath.Join(dir, name); exec.Command(p, "version").Run() == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not in %q", name, path)
}

// cleanUp ends what a script has left behind and says what that was: a script that
// ends without stopping its instances is wrong, unless it failed.
func cleanUp(home string) error {
	left := processesOf(home)
	if len(left) > 0 {
		cmd := exec.Command("docker-rd", "stop", "--all", "--force", "--timeout", "10s")
		cmd.Env = append(os.Environ(), "DOCKER_RD_HOME="+home, "DOCKER_RD_DEFAULT_SOCKETS=")
		_ = cmd.Run()
		for _, pid := range processesOf(home) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	points, err := mounts.Below(home)
	for _, point := range points {
		_ = exec.Command("umount", "--lazy", point).Run()
	}
	err = errors.Join(err, os.RemoveAll(home))
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("processes were left: %v", left))
	}
	if len(points) > 0 {
		err = errors.Join(err, fmt.Errorf("mounts were left: %v", points))
	}
	return err
}

// processesOf returns the processes that have the home in their environment or among
// their arguments.
func processesOf(home string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if !bytes.Contains(environ, []byte(home)) && !bytes.Contains(cmdline, []byte(home)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// daemon sets a variable to the number of an engine's daemon: the engine's own process where
// it is root's, else the child of that: daemon NAME PID.
func daemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: daemon name pid")
	}
	pid := args[1]
	if os.Geteuid() != 0 {
		ts.Check(ts.Exec("pgrep", "--parent", pid, "--exact", "dockerd|containerd"))
		pid = strings.TrimSpace(ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], pid)
}

// lockFile takes a file's lock as a program does that knows nothing of docker-rd, and
// releases it with "!": [!] lock FILE.
func lockFile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] lock file")
	}
	path := ts.MkAbs(args[0])
	lockedMu.Lock() // scripts run beside each other
	defer lockedMu.Unlock()
	if neg {
		ts.Check(lockedFiles[path].Close())
		delete(lockedFiles, path)
		return
	}
	file, err := os.Open(path)
	ts.Check(err)
	ts.Check(syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
	lockedFiles[path] = file
}

// lockedFiles are locked by scripts; their paths are of one script each.
var (
	lockedMu    sync.Mutex
	lockedFiles = map[string]*os.File{}
)

// sendSignal sends a signal to the process whose number is in a file or an argument:
// signal NAME PID|FILE.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{
		"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
		"HUP": syscall.SIGHUP,
	}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal KILL|TERM|INT|HUP|STOP|CONT pid|file")
	}
	number := args[1]
	if _, err := strconv.Atoi(number); err != nil {
		number = strings.TrimSpace(ts.ReadFile(number))
	}
	pid, err := strconv.Atoi(number)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
	for args[0] == "STOP" && !isStopped(pid) {
		time.Sleep(time.Millisecond)
	}
}

// isStopped reports whether all threads of a process have been stopped. Where there is no
// /proc nobody tells, and it says yes.
func isStopped(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		_, after, _ := strings.Cut(string(text), ") ")
		if state, _, _ := strings.Cut(after, " "); err == nil && state != "T" && state != "Z" {
			return false
		}
	}
	return true
}

// serveTLS leads from a new loopback port to a socket, for those who show a certificate,
// and sets a variable to host:port. The certificates are in the directory: tls NAME SOCKET
// DIR.
func serveTLS(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: tls name socket dir")
	}
	name, socket, dir := args[0], ts.MkAbs(args[1]), ts.MkAbs(args[2])
	authority := endpointtest.NewAuthority(t)
	client := authority.Issue(t, time.Now().Add(time.Hour))
	ts.Check(os.MkdirAll(dir, 0o700))
	for file, data := range map[string][]byte{"ca.pem": authority.PEM, "cert.pem": client.Cert, "key.pem": client.Key} {
		ts.Check(os.WriteFile(filepath.Join(dir, file), data, 0o600))
	}
	l := authority.Listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := relay.Relay{Log: slog.New(slog.DiscardHandler), Dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		r.Serve(ctx, l)
	}()
	ts.Defer(func() {
		cancel()
		<-ended
	})
	ts.Setenv(name, l.Addr().String())
}

// serveSSH runs an sshd whose remote commands find the script's docker command, which is led
// to the engine on a socket, and sets a variable to the URL. The script's ssh command finds
// it: sshd NAME SOCKET.
func serveSSH(t *testing.T, ts *testscript.TestScript, docker string, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sshd name socket")
	}
	s := endpointtest.NewSSHD(t, args[1], "")
	if docker != "" {
		endpointtest.Script(t, filepath.Join(s.Remote, "docker"), fmt.Sprintf(`exec %s --host unix://%s "$@"`, docker, args[1]))
	}
	ts.Setenv("PATH", s.Bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
	ts.Setenv(args[0], s.URL)
}

// installLima puts a fake limactl on the PATH, and sets FAKE_LIMA to the directory that says how it
// behaves (fakelima.Env), and LIMA_PATH to the directory that it is in: lima.
func installLima(t *testing.T, ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: lima")
	}
	dir := filepath.Join(ts.Getenv("DOCKER_RD_HOME"), "fake") // a short path
	s := endpointtest.NewSSHD(t, filepath.Join(dir, fakelima.Socket), "")
	bin := filepath.Join(dir, "bin")
	endpointtest.Script(t, filepath.Join(bin, "limactl"), `exec fake-limactl "$@"`)
	ts.Check(os.Symlink(s.Config, filepath.Join(dir, "ssh_config")))
	ts.Check(os.WriteFile(filepath.Join(dir, "remote"), []byte(s.Remote), 0o600))
	ts.Setenv(fakelima.Env, dir)
	ts.Setenv("LIMA_PATH", bin)
	ts.Setenv("PATH", strings.Join([]string{bin, s.Bin, ts.Getenv("PATH")}, string(os.PathListSeparator)))
	for _, arch := range []string{"X86_64", "AARCH64"} {
		ts.Setenv("QEMU_SYSTEM_"+arch, "qemu")
	}
}

// browse drives a headless browser, which ends with the script:
// browser open URL|FILE; browser until JS-EXPRESSION; browser size WIDTH HEIGHT;
// browser shot FILE. Until is met when the expression is true.
func browse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: browser open|until|size|shot ...")
	}
	key := ts.Getenv("WORK")
	browsersMu.Lock()
	b := browsers[key]
	browsersMu.Unlock()
	switch args[0] {
	case "open":
		url := args[1]
		if !strings.Contains(url, "://") {
			url = strings.TrimSpace(ts.ReadFile(url))
		}
		if b == nil {
			var err error
			dir, err := os.MkdirTemp("", "rd")
			ts.Check(err)
			b, err = browser.Start(dir)
			ts.Check(err)
			browsersMu.Lock()
			browsers[key] = b
			browsersMu.Unlock()
			ts.Defer(func() {
				browsersMu.Lock()
				delete(browsers, key)
				browsersMu.Unlock()
				b.Close()
				_ = os.RemoveAll(dir)
			})
		}
		ts.Check(b.Open(url))
	case "until":
		last := ""
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			var err error
			if last, err = b.Eval(strings.Join(args[1:], " ")); err == nil && last == "true" {
				return
			}
			if time.Now().After(deadline) {
				text, _ := b.Eval("document.body.innerText")
				ts.Fatalf("still not: %s, %v\n%s", last, err, text)
			}
		}
	case "size":
		width, err := strconv.Atoi(args[1])
		ts.Check(err)
		height, err := strconv.Atoi(args[2])
		ts.Check(err)
		ts.Check(b.Resize(width, height))
	case "shot":
		data, err := b.Screenshot()
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o600))
	default:
		ts.Fatalf("browser: unknown command %q", args[0])
	}
}

// browsers are those of the scripts that run, by their directories.
var (
	browsersMu sync.Mutex
	browsers   = map[string]*browser.Browser{}
)
