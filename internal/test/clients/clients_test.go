//go:build linux

package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/asuser"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// A client makes something in an engine that it finds by itself.
type client struct {
	name string
	// argv makes a container of the image, of the given name, or an image if image is set.
	argv func(s *stage, name string) []string
	// image says that it makes an image of that name.
	image bool
	// told says that it looks for an engine at /var/run/docker.sock alone, unless it is told.
	told bool
}

const image = "clients:1"

// patience is how long a client may take before it is taken for one that hangs.
const patience = 2 * time.Minute

// clientsOf returns the clients to try, with the docker commands that there are.
func clientsOf(s *stage) []client {
	all := []client{
		{name: "compose-v2", argv: func(s *stage, name string) []string {
			return []string{s.dockers["newest"], "compose", "-f", s.composeFile(name), "-p", name, "up"}
		}},
		{name: "buildx", image: true, argv: func(s *stage, name string) []string {
			return []string{s.dockers["newest"], "buildx", "build", "--load", "-t", name, s.buildDir()}
		}},
		{name: "docker-compose-1.29", argv: func(s *stage, name string) []string {
			return []string{"docker-compose", "-f", s.composeFile(name), "-p", name, "up"}
		}},
		{name: "docker-py", told: true, argv: func(_ *stage, name string) []string {
			return []string{"/usr/bin/python3", "-c", `import docker, sys; docker.from_env().containers.run(sys.argv[2], sys.argv[3:], name=sys.argv[1])`,
				name, image, "/prog", "exit", "0"}
		}},
		{name: "dockerode", argv: func(s *stage, name string) []string {
			return []string{"node", s.installed("node/dockerode.js"), name, image, "/prog", "exit", "0"}
		}},
		{name: "testcontainers-node", argv: func(s *stage, name string) []string {
			return []string{"node", s.installed("node/testcontainers.js"), name, image, "/prog", "exit", "0"}
		}},
		{name: "testcontainers-go", argv: func(s *stage, name string) []string {
			return []string{s.installed("testcontainers-go"), name, image, "/prog", "exit", "0"}
		}},
		{name: "act", argv: func(s *stage, name string) []string {
			return []string{s.installed("act"), "--pull=false", "-W", s.workflow(name), "-P", "ubuntu-latest=" + image}
		}},
	}
	for version, path := range s.dockers {
		if version != "newest" {
			all = append(all, client{name: "docker-" + version, argv: func(_ *stage, name string) []string {
				return []string{path, "run", "--name", name, image, "/prog", "exit", "0"}
			}})
		}
	}
	return all
}

// TestClients runs every client beside an engine of the host's, which none of them may
// reach.
func TestClients(t *testing.T) {
	needClients(t)
	realengine.Need(t)
	s := newStage(t)
	s.startHost(t)

	// Without any flag or variable, after `docker rd start`. The host's engine is not where
	// engines usually are, so the current context is broken, and ours takes its place.
	t.Run("started", func(t *testing.T) {
		s.must(t, "docker-rd", "start")
		defer s.must(t, "docker-rd", "rm", "--force", "default")
		s.load(t, "default")
		for _, c := range clientsOf(s) {
			t.Run(c.name, func(t *testing.T) { s.try(t, c, "default", "started-"+c.name) })
		}
		t.Run("reaper", func(t *testing.T) { s.testReaper(t, "default", "started-reaped") })
	})

	// Inside run, where the host's engine is at the usual place and healthy.
	t.Run("run", func(t *testing.T) {
		if err := os.Symlink(s.host.Socket, "/run/docker.sock"); err != nil {
			t.Fatal(err)
		}
		defer os.Remove("/run/docker.sock")
		before := s.hostCalls(t)
		s.must(t, s.dockers["newest"], "version")
		if s.hostCalls(t) == before {
			t.Fatal("it does not show when the host's engine is reached")
		}
		s.must(t, "docker-rd", "start", "other")
		defer s.must(t, "docker-rd", "rm", "--force", "other")
		s.load(t, "other")
		for _, c := range clientsOf(s) {
			t.Run(c.name, func(t *testing.T) { s.try(t, c, "other", "run-"+c.name, "docker-rd", "run", "-i", "other", "--") })
		}
		t.Run("reaper", func(t *testing.T) { s.testReaper(t, "other", "run-reaped", "docker-rd", "run", "-i", "other", "--") })
	})

	// Inside run, on an engine that is behind ssh, which few of them can dial.
	t.Run("ssh", func(t *testing.T) {
		// The other side of sshd has a /run of its own.
		s.env = append(s.env, "XDG_RUNTIME_DIR="+filepath.Join(s.dir, "run"))
		s.must(t, "docker-rd", "start", "other")
		defer s.must(t, "docker-rd", "rm", "--force", "other")
		s.load(t, "other")
		sshd := endpointtest.NewSSHD(t, "", "")
		socket := strings.TrimSpace(s.must(t, "docker-rd", "paths", "other", "socket"))
		endpointtest.Script(t, filepath.Join(sshd.Remote, "docker"), fmt.Sprintf(`exec %s --host unix://%s "$@"`, s.dockers["newest"], socket))
		path := slices.IndexFunc(s.env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
		s.env[path] = "PATH=" + sshd.Bin + ":" + strings.TrimPrefix(s.env[path], "PATH=")
		s.must(t, "docker-rd", "start", "far", "--host", sshd.URL)
		defer s.must(t, "docker-rd", "rm", "--force", "far")
		for _, c := range clientsOf(s) {
			t.Run(c.name, func(t *testing.T) { s.try(t, c, "other", "ssh-"+c.name, "docker-rd", "run", "-i", "far", "--") })
		}
	})
}

// An ordinary user's clients find his engine.
func TestClientsAsUser(t *testing.T) {
	needClients(t)
	realengine.Need(t)
	u := asuser.New(t)
	bin := filepath.Join(u.Dir, "repo", "bin")
	u.Rerun(t, "^TestUserClients$", insideVar+"=1", dirVar+"="+filepath.Join(bin, "clients"), binVar+"="+bin)
}

func TestUserClients(t *testing.T) {
	needClients(t)
	if os.Geteuid() == 0 {
		t.Skip("TestClientsAsUser runs this")
	}
	s := newStage(t)
	s.env = append(s.env, "XDG_RUNTIME_DIR="+filepath.Join(s.dir, "run"))
	s.must(t, "docker-rd", "start")
	defer s.must(t, "docker-rd", "rm", "--force", "default")
	s.load(t, "default")
	for _, c := range clientsOf(s) {
		if !c.told {
			t.Run("started/"+c.name, func(t *testing.T) { s.try(t, c, "default", "started-"+c.name) })
		}
		t.Run("run/"+c.name, func(t *testing.T) { s.try(t, c, "default", "run-"+c.name, "docker-rd", "run", "--") })
	}
	t.Run("reaper", func(t *testing.T) { s.testReaper(t, "default", "run-reaped", "docker-rd", "run", "--") })
}

// try runs a client below a command, and looks where its object came about.
func (s *stage) try(t *testing.T, c client, instance, name string, below ...string) {
	t.Helper()
	name = strings.ReplaceAll(name, ".", "-")
	before := s.hostCalls(t)
	cmd := s.command(append(below, c.argv(s, name)...)...)
	end := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(os.Interrupt) })
	out, err := cmd.CombinedOutput()
	end.Stop()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if calls := s.hostCalls(t); calls != before {
		t.Errorf("the host's engine was reached:\n%s", strings.TrimPrefix(calls, before))
	}
	what := []string{"container", "ls", "-aq", "--filter", "name=" + name}
	if c.image {
		what = []string{"image", "ls", "-q", name}
	}
	if made := s.docker(t, instance, what...); strings.TrimSpace(made) == "" {
		t.Errorf("it has made nothing in instance %q:\n%s", instance, out)
	}
}

// composeFile writes a file for compose with one service. It runs for a while: compose waits
// for ever for the end of what ends before it listens, which takes a login over ssh, also
// without docker rd.
func (s *stage) composeFile(name string) string {
	return s.write(filepath.Join(name, "compose.yaml"), fmt.Sprintf(`
services:
  one:
    image: %s
    container_name: %s
    command: ["/prog", "sleep", "3000"]
    network_mode: none
`, image, name))
}

// buildDir makes a directory to build an image of.
func (s *stage) buildDir() string {
	return filepath.Dir(s.write("build/Dockerfile", "FROM "+image+"\nRUN [\"/prog\", \"touch\", \"/made\"]\n"))
}

// workflow writes one for act, whose container stays: it is named after the workflow.
func (s *stage) workflow(name string) string {
	return s.write(filepath.Join(name, "workflow.yaml"), fmt.Sprintf(`
name: %s
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - run: echo hello
        shell: sh
`, name))
}

func (s *stage) write(path, text string) string {
	path = filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
	return path
}

// docker runs docker on an instance, whatever the current context is.
func (s *stage) docker(t *testing.T, instance string, args ...string) string {
	t.Helper()
	socket := strings.TrimSpace(s.must(t, "docker-rd", "paths", instance, "socket"))
	return s.must(t, append([]string{s.dockers["newest"], "--host", "unix://" + socket}, args...)...)
}

// must runs a command that is not what is tried.
func (s *stage) must(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := s.command(argv...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out, stderr.String())
	}
	return string(out)
}

// command returns a command in the user's environment.
func (s *stage) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	if path, ok := s.programs[argv[0]]; ok {
		cmd = exec.Command(path, argv[1:]...)
	}
	cmd.Env, cmd.Dir = s.env, s.dir
	return cmd
}
