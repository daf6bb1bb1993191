package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// A person has two instances, "default" and "dev".
type person struct {
	t     *testing.T
	name  string
	login string // of the user that the test made
	// command returns a command as this person runs it.
	command func(argv ...string) *exec.Cmd
	sockets sync.Map // of the instances, by name
}

var instances = []string{"default", "dev"}

// out returns what a command prints, which must succeed.
func (p *person) out(argv ...string) string {
	p.t.Helper()
	out, err := p.try(argv...)
	if err != nil {
		p.t.Errorf("%s: %q: %v\n%s", p.name, argv, err, out)
	}
	return out
}

func (p *person) try(argv ...string) (string, error) {
	cmd := p.command(argv...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), err
}

// docker runs docker on an instance.
func (p *person) docker(instance string, args ...string) string {
	p.t.Helper()
	return p.out(append([]string{"docker", "--host", "unix://" + p.socket(instance)}, args...)...)
}

func (p *person) socket(instance string) string {
	p.t.Helper()
	socket, ok := p.sockets.Load(instance)
	if !ok {
		socket = p.out("docker-rd", "paths", instance, "socket")
		p.sockets.Store(instance, socket)
	}
	return socket.(string)
}

func (p *person) hostname(instance string) string { return p.name + "-" + instance }

// greets checks that the published port of the person's container leads to it.
func (p *person) greets(instance string) {
	p.t.Helper()
	first, _, _ := strings.Cut(p.docker(instance, "port", "web", "80/tcp"), "\n")
	_, port, err := net.SplitHostPort(first)
	if err != nil {
		p.t.Errorf("%s: port of %s: %v", p.name, instance, err)
		return
	}
	// The port answers before the container does.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		var got []byte
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			got, err = io.ReadAll(c)
			_ = c.Close()
		}
		if len(got) == 0 && time.Now().Before(deadline) {
			continue
		}
		if want := "hello from " + p.hostname(instance) + "\n"; string(got) != want {
			p.t.Errorf("%s: port %s: %q, %v, want %q", p.name, port, got, err, want)
		}
		return
	}
}

// together has all persons do the same at the same time.
func together(people []*person, do func(p *person, instance string)) {
	var all sync.WaitGroup
	for _, p := range people {
		for _, instance := range instances {
			all.Go(func() { do(p, instance) })
		}
	}
	all.Wait()
}

// Two ordinary users and root have two instances each, beside an engine of the host's. Nobody
// sees or disturbs what is another's.
func TestUsersBesideEachOther(t *testing.T) {
	realengine.Need(t)
	if !onOwnHost(t) {
		return
	}
	ann, bob, root := newPerson(t, "ann"), newPerson(t, "bob"), newRoot(t)
	people := []*person{ann, bob, root}
	host := startHostEngine(t, root)
	before, there := host.state(), strewn(t, ann, bob)

	together(people, func(p *person, instance string) { p.out("docker-rd", "start", instance) })
	if t.Failed() {
		return
	}
	rootFS := filepath.Join(os.Getenv(realengine.BuiltEnv), "rootfs.tar")
	together(people, func(p *person, instance string) {
		p.docker(instance, "import", rootFS, "app:1")
		p.docker(instance, "run", "-d", "--name", "web", "--hostname", p.hostname(instance), "--stop-signal", "KILL", "-P", "--expose", "80", "app:1", "/prog", "serve", "80")
		p.greets(instance)
		if got := p.docker(instance, "ps", "-a", "--format", "{{.Names}}"); got != "web" {
			t.Errorf("%s has the containers %q in %s", p.name, got, instance)
		}
	})

	for _, p := range people {
		if got := p.out("docker-rd", "ls", "-q"); got != "default\ndev" {
			t.Errorf("%s's instances are %q", p.name, got)
		}
		if got := p.out("docker", "context", "ls", "-q"); got != "default\nrd\nrd-dev" {
			t.Errorf("%s's contexts are %q", p.name, got)
		}
		if got := p.out("docker-rd", "__complete", "stop", ""); !strings.HasPrefix(got, "default\t") || strings.Count(got, "\n") != 2 {
			t.Errorf("%s's completion of instances is %q", p.name, got)
		}
		// The host's engine works, or can't be judged.
		if got := p.out("docker", "context", "show"); got != "default" {
			t.Errorf("%s's current context is %q", p.name, got)
		}
	}
	checkSockets(t, people)
	checkProcesses(t, []*person{ann, bob})
	for _, path := range strewn(t, ann, bob) {
		if !slices.Contains(there, path) {
			t.Errorf("%s was not there before", path)
		}
	}

	// A port can be had once.
	const taken = "127.0.0.1:18000:80"
	ann.docker("dev", "run", "-d", "--stop-signal", "KILL", "-p", taken, "app:1", "/prog", "serve", "80")
	for _, p := range []*person{bob, root} {
		_, err := p.try("docker", "--host", "unix://"+p.socket("dev"), "run", "--rm", "-p", taken, "app:1", "/prog", "exit", "0")
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("%s publishes a port of ann's: %v", p.name, err)
		}
	}

	// What ends for one goes on for the others.
	bob.out("docker-rd", "stop", "--all", "--force")
	together([]*person{ann, root}, (*person).greets)
	root.out("docker-rd", "rm", "--force", "default", "dev")
	together([]*person{ann}, (*person).greets)
	if after := host.state(); after != before {
		t.Errorf("the host's engine was\n%s\nand is\n%s", before, after)
	}
	for _, p := range []*person{ann, bob} {
		p.out("docker-rd", "rm", "--force", "default", "dev")
	}
}

const ownHostEnv = "DOCKER_RD_TEST_OWN_HOST"

// onOwnHost runs the test once more, in network and mount namespaces of its own, with an
// empty /run, and reports whether this is that run.
func onOwnHost(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownHostEnv) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), ownHostEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
			t.Errorf("on a host of its own: %v\n%s", err, out)
		}
		return false
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip: %v\n%s", err, out)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	return true
}

func newPerson(t *testing.T, name string) *person {
	t.Helper()
	u := asuser.New(t)
	program := addProgram(t, u)
	// Root, who comes later, runs the last one's.
	t.Setenv(realengine.BuiltEnv, filepath.Dir(program))
	// As it is on most hosts. In a network namespace of the command's, the loopback device is down.
	u.Setup = "mount --make-rshared /; ip link set lo up"
	runtime := filepath.Join(u.Home, "run")
	env := []string{"XDG_RUNTIME_DIR=" + runtime, "PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH")}
	p := &person{t: t, name: name, login: u.Name, command: func(argv ...string) *exec.Cmd { return u.Command(env, argv...) }}
	p.out("mkdir", "-m", "700", runtime)
	return p
}

func newRoot(t *testing.T) *person {
	t.Helper()
	home, err := os.MkdirTemp("/tmp", "rdr") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	path := os.Getenv(realengine.BuiltEnv) + ":" + os.Getenv("PATH")
	t.Setenv("PATH", path)
	return &person{t: t, name: "root", command: func(argv ...string) *exec.Cmd {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{"HOME=" + home, "PATH=" + path}
		return cmd
	}}
}

// A hostEngine is the machine's, at the usual place.
type hostEngine struct {
	*person
	socket string
}

func startHostEngine(t *testing.T, root *person) *hostEngine {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rdh")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := realengine.StartDockerd(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Symlink(engine.Socket, "/run/docker.sock"); err != nil {
		t.Fatal(err)
	}
	return &hostEngine{root, engine.Socket}
}

// state is what docker's users see of the engine.
func (h *hostEngine) state() string {
	h.t.Helper()
	all := ""
	for _, args := range [][]string{{"info", "-f", "{{.ID}} {{.Containers}} {{.Images}}"}, {"network", "ls"}, {"volume", "ls"}, {"ps", "-a"}} {
		all += h.out(append([]string{"docker", "--host", "unix://" + h.socket}, args...)...) + "\n"
	}
	return all
}

// checkSockets checks who reaches whose engines.
func checkSockets(t *testing.T, people []*person) {
	t.Helper()
	for _, owner := range people {
		for _, instance := range instances {
			socket := owner.socket(instance)
			for _, p := range people {
				_, err := p.try("curl", "--silent", "--fail", "--unix-socket", socket, "http://engine/_ping")
				if may := p == owner || p.name == "root"; may != (err == nil) {
					t.Errorf("%s asks the engine %q of %s: %v", p.name, instance, owner.name, err)
				}
			}
		}
	}
}

// checkProcesses checks that users see nothing of each other's engines but that there are such
// processes, and that these are in the control groups that they were started in.
func checkProcesses(t *testing.T, users []*person) {
	t.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range users {
		for _, instance := range instances {
			pid := owner.out("docker-rd", "status", instance, "--format", "{{.Engine.PID}}")
			if got, err := os.ReadFile("/proc/" + pid + "/cgroup"); err != nil || !bytes.Equal(got, own) {
				t.Errorf("the engine %q of %s is in the control groups %s, %v", instance, owner.name, got, err)
			}
			for _, p := range users {
				if _, err := p.try("cat", "/proc/"+pid+"/environ"); (p == owner) != (err == nil) {
					t.Errorf("%s reads the environment of %s's engine: %v", p.name, owner.name, err)
				}
			}
		}
	}
}

// strewn returns what there is in places that all users share: in /run all but what docker rd has
// there, elsewhere what the users have, and not what other tests have.
func strewn(t *testing.T, users ...*person) (paths []string) {
	t.Helper()
	var uids []string
	for _, p := range users {
		uids = append(uids, p.out("id", "-u"))
	}
	for _, dir := range []string{"/run", "/tmp", "/var/tmp", "/dev/shm"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue
			}
			theirs := slices.Contains(uids, fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid))
			if theirs || dir == "/run" && !strings.HasPrefix(e.Name(), "docker-rd") {
				paths = append(paths, filepath.Join(dir, e.Name()))
			}
		}
	}
	return paths
}
