//go:build !windows

package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// slack is what a loaded machine may add to a deadline before a test fails.
const slack = 5 * time.Second

func ping(t *testing.T, host string, timeout time.Duration) (Pong, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	start := time.Now()
	pong, err := Endpoint{Host: host}.Ping(ctx)
	over := time.Since(start) - timeout
	t.Logf("Ping(%s) returned %s after its deadline", host, over)
	if over > slack {
		t.Errorf("Ping took %s longer than its deadline", over)
	}
	return pong, err
}

func TestSSHPing(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	pong, err := ping(t, s.URL, 20*time.Second)
	if err != nil {
		t.Fatalf("Ping: %v\n%s", err, s.Log)
	}
	if want := (Pong{APIVersion: endpointtest.APIVersion, ServerVersion: endpointtest.ServerVersion}); pong != want {
		t.Errorf("Ping = %+v, want %+v", pong, want)
	}
	if left := endpointtest.Processes(t, s.Client); len(left) > 0 {
		t.Errorf("processes are left when Ping returns:\n%s", strings.Join(left, "\n"))
	}
}

// The same with each docker command that is installed on the other side.
func TestSSHRealDocker(t *testing.T) {
	s := endpointtest.StartSSHD(t, "", "")
	socket := endpointtest.Unix(t, endpointtest.Handler())
	for _, docker := range dockers(t) {
		viaDocker(t, s, docker, socket, endpointtest.ServerVersion)
	}
	endpointtest.NoProcess(t, s.Client)
}

// And with a real engine behind it.
func TestSSHRealEngine(t *testing.T) {
	realengine.Need(t)
	engine, err := realengine.StartDockerd(t.Context(), endpointtest.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	local, err := ping(t, "unix://"+engine.Socket, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s := endpointtest.StartSSHD(t, "", "")
	for _, docker := range dockers(t) {
		viaDocker(t, s, docker, engine.Socket, local.ServerVersion)
	}
}

// dockers returns the docker commands of this system: that on the PATH, and the
// distribution's, which it may hide.
func dockers(t *testing.T) []string {
	t.Helper()
	first, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	found := []string{first}
	const distribution = "/usr/bin/docker"
	if _, err := os.Stat(distribution); err == nil && first != distribution {
		found = append(found, distribution)
	}
	return found
}

// viaDocker pings the engine on a socket through a docker command behind sshd.
func viaDocker(t *testing.T, s *endpointtest.SSHD, docker, socket, version string) {
	t.Helper()
	for _, tc := range []struct{ name, script, host string }{
		{"socket in the URL", `exec ` + docker + ` "$@"`, s.URL + socket},
		{"DOCKER_HOST there", `DOCKER_HOST=unix://` + socket + ` exec ` + docker + ` "$@"`, s.URL},
	} {
		endpointtest.Script(t, s.Remote+"/docker", tc.script)
		pong, err := ping(t, tc.host, 20*time.Second)
		if err != nil || pong.ServerVersion != version {
			t.Errorf("%s, %s: Ping = %+v, %v\n%s", docker, tc.name, pong, err, s.Log)
		}
	}
}

// A client over ssh lives long: the events stream must outlast the context of the
// request that dialled, and nothing may be left when it ends.
func TestSSHClientStreams(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	c, err := Endpoint{Host: s.URL}.Client()
	if err != nil {
		t.Fatal(err)
	}
	dialled, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	if _, err := c.Ping(dialled, client.PingOptions{}); err != nil {
		t.Fatalf("Ping: %v\n%s", err, s.Log)
	}
	cancel()
	ctx, stop := context.WithCancel(t.Context())
	events := c.Events(ctx, client.EventsListOptions{})
	select {
	case m := <-events.Messages:
		if m.Actor.ID != "c1" {
			t.Errorf("event of %q, want c1", m.Actor.ID)
		}
	case err := <-events.Err:
		t.Fatalf("Events: %v", err)
	}
	var wg sync.WaitGroup
	for range 40 { // at once, as when a mirror looks everything up
		wg.Go(func() {
			v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
			if err != nil || v.Version != endpointtest.ServerVersion {
				t.Errorf("ServerVersion = %q, %v", v.Version, err)
			}
		})
	}
	wg.Wait()
	stop()
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	endpointtest.NoProcess(t, s.Client)
}

func TestSSHStreamEndsWithSSH(t *testing.T) {
	dir := endpointtest.Dir(t)
	socket := filepath.Join(dir, "s")
	endpointtest.UnixAt(t, socket, endpointtest.Handler())
	s := endpointtest.StartSSHD(t, socket, "")
	c, err := Endpoint{Host: s.URL}.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events := c.Events(t.Context(), client.EventsListOptions{})
	<-events.Messages
	for _, line := range endpointtest.Processes(t, s.Client) {
		pid, _, _ := strings.Cut(line, " ")
		kill(t, pid)
	}
	if err := <-events.Err; err == nil {
		t.Error("the stream ended without an error when ssh was killed")
	}
}

func TestSSHFailures(t *testing.T) {
	socket := endpointtest.Unix(t, endpointtest.Handler())
	for _, tc := range []struct {
		name   string
		extra  string // prepended to the client's configuration
		change func(*testing.T, *endpointtest.SSHD)
		status int
		want   string // in ssh's message
	}{
		{
			name: "wrong key", status: 255, want: "Permission denied",
			change: func(t *testing.T, s *endpointtest.SSHD) { empty(t, s.Authorized) },
		}, {
			name: "unknown host key", status: 255, want: "Host key verification failed",
			extra:  "Host *\nStrictHostKeyChecking accept-new\nUpdateHostKeys yes",
			change: func(t *testing.T, s *endpointtest.SSHD) { empty(t, s.KnownHosts) },
		}, {
			name: "host down", status: 255, want: "refused",
			extra: "Host *\nHostName 127.0.0.1\nPort 1",
		}, {
			name: "no docker", status: 127, want: "docker",
			change: func(t *testing.T, s *endpointtest.SSHD) { remove(t, s.Remote+"/docker") },
		}, {
			name: "no engine", status: 1, want: "no such file",
			change: func(t *testing.T, s *endpointtest.SSHD) {
				endpointtest.Script(t, s.Remote+"/docker", "echo 'dial: no such file' >&2; exit 1")
			},
		}, {
			name: "ProxyCommand fails", status: 255,
			extra: "Host *\nProxyCommand false",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := endpointtest.StartSSHD(t, socket, tc.extra)
			if tc.change != nil {
				tc.change(t, s)
			}
			before := read(t, s.KnownHosts)
			_, err := ping(t, s.URL, 20*time.Second)
			var sshErr *SSHError
			if !errors.As(err, &sshErr) {
				t.Fatalf("Ping: %v (%T), want an SSHError\n%s", err, err, s.Log)
			}
			if sshErr.Status != tc.status || !strings.Contains(sshErr.Message, tc.want) {
				t.Errorf("Ping: %v, want status %d and %q", sshErr, tc.status, tc.want)
			}
			if after := read(t, s.KnownHosts); after != before {
				t.Errorf("known_hosts changed from %q to %q", before, after)
			}
			endpointtest.NoProcess(t, s.Client)
		})
	}
}

// The deadline holds and nothing is left, whatever ssh and its children do.
// What a login prints where the engine answers is named.
func TestSSHNoise(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	endpointtest.Script(t, s.Remote+"/docker", "echo Welcome; echo back; exec cat >/dev/null")
	_, err := ping(t, s.URL, 20*time.Second)
	if !errors.Is(err, ErrSSHNoise) || !strings.Contains(err.Error(), `"Welcome"`) {
		t.Errorf("Ping: %v", err)
	}
	endpointtest.NoProcess(t, s.Client)
}

func TestSSHDeadline(t *testing.T) {
	socket := endpointtest.Unix(t, endpointtest.Handler())
	for _, tc := range []struct {
		name   string
		change func(*testing.T, *endpointtest.SSHD)
	}{
		{"the remote command hangs", func(t *testing.T, s *endpointtest.SSHD) {
			endpointtest.Script(t, s.Remote+"/docker", "exec cat >&2")
		}},
		{"ssh ignores SIGTERM", func(t *testing.T, s *endpointtest.SSHD) {
			endpointtest.Script(t, s.Client+"/bin/ssh", "trap '' TERM HUP INT PIPE\nwhile :; do "+s.Client+"/sleep 600; done")
		}},
		{"ProxyCommand keeps the pipes open", func(t *testing.T, s *endpointtest.SSHD) {
			proxy := endpointtest.Script(t, s.Client+"/proxy", "trap '' TERM HUP INT PIPE\n"+
				"(while :; do "+s.Client+"/sleep 600; done) &\nwhile :; do "+s.Client+"/sleep 600; done")
			prepend(t, s.Config, "Host *\nProxyCommand "+proxy+"\n")
		}},
		{"the server accepts and says nothing", func(t *testing.T, s *endpointtest.SSHD) {
			l := endpointtest.Listen(t, "127.0.0.1")
			_, port, _ := strings.Cut(l.Addr().String(), ":")
			prepend(t, s.Config, "Host *\nPort "+port+"\n")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := endpointtest.StartSSHD(t, socket, "")
			tc.change(t, s)
			_, err := ping(t, s.URL, 500*time.Millisecond)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Ping: %v, want deadline exceeded", err)
			}
			endpointtest.NoProcess(t, s.Client)
		})
	}
}

// A deadline that comes while ssh is being started: it must not outlive the command that
// ends then.
func TestSSHDeadlineDuringStart(t *testing.T) {
	s := endpointtest.StartSSHD(t, "", "")
	prepend(t, s.Config, "Host *\nProxyCommand "+s.Client+"/sleep 600\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		cmd := exec.Command(self, s.URL)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%dus", pingVar, 100*i), "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	endpointtest.NoProcess(t, s.Client)
}

// Whoever pings may be killed, and then ssh ends too.
func TestSSHKilled(t *testing.T) {
	for name, change := range map[string]func(s *endpointtest.SSHD){
		"connecting": func(s *endpointtest.SSHD) {
			prepend(t, s.Config, "Host *\nProxyCommand "+s.Client+"/sleep 600\n")
		},
		"connected": func(s *endpointtest.SSHD) {
			endpointtest.Script(t, s.Remote+"/docker", "echo >"+s.Client+"/there; exec "+s.Client+"/sleep 600")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := endpointtest.StartSSHD(t, "", "")
			change(s)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, s.URL)
			cmd.Env = append(os.Environ(), pingVar+"=10m")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			started := func() bool {
				_, err := os.Stat(s.Client + "/there")
				return err == nil || len(endpointtest.Processes(t, s.Client+"/sleep")) > 0
			}
			if !endpointtest.Eventually(started) {
				t.Errorf("ssh does not start:\n%s", s.Log)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			endpointtest.NoProcess(t, s.Config) // the other side's has no say in it
			if name == "connecting" {
				endpointtest.NoProcess(t, s.Client)
			}
		})
	}
}

// A ProxyCommand that outlives ssh must not delay the answer, nor survive.
func TestSSHProxyCommandOutlivesSSH(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	proxy := endpointtest.Script(t, s.Client+"/proxy",
		"trap '' TERM HUP INT PIPE\nexec 0<&- 1>&-\nwhile :; do "+s.Client+"/sleep 600; done")
	prepend(t, s.Config, "Host *\nProxyCommand "+proxy+"\n")
	_, err := ping(t, s.URL, 20*time.Second)
	if !errors.As(err, new(*SSHError)) {
		t.Errorf("Ping: %v, want an SSHError", err)
	}
	endpointtest.NoProcess(t, s.Client)
}

// The user's configuration asks for a master connection and for new host keys.
func TestSSHLeavesNothing(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	prepend(t, s.Config, "Host *\nControlMaster auto\nControlPath "+s.Client+"/master\nControlPersist 600\n"+
		"StrictHostKeyChecking accept-new\nUpdateHostKeys yes\nCheckHostIP yes\nHashKnownHosts yes\n"+
		"LocalForward 127.0.0.1:1 127.0.0.1:1\nExitOnForwardFailure yes\n"+
		"PermitLocalCommand yes\nLocalCommand touch "+s.Client+"/local\n")
	before := read(t, s.KnownHosts)
	if _, err := ping(t, s.URL, 20*time.Second); err != nil {
		t.Fatalf("Ping: %v\n%s", err, s.Log)
	}
	if after := read(t, s.KnownHosts); after != before {
		t.Errorf("known_hosts changed from %q to %q", before, after)
	}
	for _, name := range []string{"master", "local"} {
		if _, err := os.Lstat(filepath.Join(s.Client, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s exists (%v)", name, err)
		}
	}
	endpointtest.NoProcess(t, s.Client)
}

// ssh starts more of its kind for ProxyJump and ProxyCommand, and hands none of its
// options down to them.
func TestSSHJump(t *testing.T) {
	socket := endpointtest.Unix(t, endpointtest.Handler())
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, way string }{
		{"ProxyJump", "ProxyJump jump"},
		{"user and port", "ProxyJump USER@jump:PORT"},
		{"address", "ProxyJump 127.0.0.9"},
		{"IPv6 address, user and port", "ProxyJump USER@[::1]:PORT"},
		{"two addresses", "ProxyJump 127.0.0.9,[::1]"},
		{"none", "ProxyJump none"},
		{"two jumps", "ProxyJump jump,jump2"},
		{"the jump host has one of its own", "ProxyJump jump2\nHost jump2\nProxyJump jump"},
		{"ProxyCommand", "ProxyCommand ssh -W %h:%p jump"},
		{"ProxyCommand with a path", "ProxyCommand " + real + " -F CONFIG -W %h:%p jump"},
		{"ProxyCommand that jumps", "ProxyCommand ssh -J jump -W %h:%p jump2"},
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, known=%t", tc.name, known), func(t *testing.T) {
				s := endpointtest.StartSSHD(t, socket, "")
				config := strings.Replace(read(t, s.Config), "Host rdtest\n", "Host rdtest jump jump2 127.0.0.9 ::1\n", 1)
				user, _, _ := strings.Cut(strings.TrimPrefix(s.URL, "ssh://"), "@")
				way := strings.NewReplacer("USER", user, "PORT", s.Port, "CONFIG", s.Config).Replace(tc.way)
				config = "Host rdtest\n" + way + "\nHost *\nControlMaster auto\nControlPath " + s.Client + "/master-%n\n" +
					"ControlPersist 600\nStrictHostKeyChecking accept-new\nUpdateHostKeys yes\n" + config
				if !known {
					config = "Host jump 127.0.0.9 ::1\nHostKeyAlias stranger\n" + config
				}
				if err := os.WriteFile(s.Config, []byte(config), 0o600); err != nil {
					t.Fatal(err)
				}
				before := read(t, s.KnownHosts)
				_, err := ping(t, s.URL, 20*time.Second)
				known := known || tc.way == "ProxyJump none"
				if sshErr := new(SSHError); known && err != nil || !known && !errors.As(err, &sshErr) {
					t.Errorf("Ping: %v\n%s", err, s.Log)
				}
				if after := read(t, s.KnownHosts); after != before {
					t.Errorf("known_hosts changed from %q to %q", before, after)
				}
				endpointtest.NoProcess(t, s.Client)
				left, err := filepath.Glob(s.Client + "/master*")
				if err != nil || len(left) > 0 {
					t.Errorf("masters are left: %q (%v)", left, err)
				}
			})
		}
	}
}

// The user's agent is asked, he himself is not.
func TestSSHAgentAndQuestions(t *testing.T) {
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	key := filepath.Join(filepath.Dir(s.Authorized), "id")
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	asked := filepath.Join(s.Client, "asked")
	t.Setenv("SSH_ASKPASS", endpointtest.Script(t, filepath.Join(s.Client, "askpass"), "touch "+asked+"; echo secret"))
	t.Setenv("SSH_ASKPASS_REQUIRE", "force")
	t.Setenv("DISPLAY", ":0")
	socket := filepath.Join(s.Client, "agent")
	t.Setenv("SSH_AUTH_SOCK", socket)
	agent := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	}()
	if !endpointtest.Eventually(func() bool { _, err := os.Stat(socket); return err == nil }) {
		t.Fatal("the agent does not start")
	}
	command("ssh-add", "-q", key)
	command("ssh-keygen", "-q", "-p", "-f", key, "-P", "", "-N", "secret")
	if _, err := ping(t, s.URL, 20*time.Second); err != nil {
		t.Errorf("with the agent: %v\n%s", err, s.Log)
	}
	command("ssh-add", "-q", "-D")
	if _, err := ping(t, s.URL, 20*time.Second); !errors.As(err, new(*SSHError)) {
		t.Errorf("with a passphrase: %v, want an SSHError", err)
	}
	if _, err := os.Stat(asked); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the passphrase was asked for (%v)", err)
	}
}

func TestSSHMissing(t *testing.T) {
	t.Setenv("PATH", endpointtest.Dir(t))
	if _, err := ping(t, "ssh://u@127.0.0.1", time.Minute); !errors.Is(err, ErrSSHMissing) {
		t.Errorf("Ping: %v, want %v", err, ErrSSHMissing)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func empty(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func prepend(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+read(t, path)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A machine's own ssh configuration may name a master connection that is dead.
func TestSSHDeadMaster(t *testing.T) {
	defer func(was time.Duration) { masterPatience = was }(masterPatience)
	masterPatience = 100 * time.Millisecond
	s := endpointtest.StartSSHD(t, endpointtest.Unix(t, endpointtest.Handler()), "")
	master := filepath.Join(endpointtest.Dir(t), "m")
	l, err := net.Listen("unix", master) // which nobody accepts from
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	config, err := os.ReadFile(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	e := Endpoint{Host: s.URL, SSHConfig: filepath.Join(s.Client, "machine_config")}
	if err := os.WriteFile(e.SSHConfig, append(config, "ControlMaster auto\nControlPath "+master+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := e.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
	endpointtest.NoProcess(t, s.Client)
}
