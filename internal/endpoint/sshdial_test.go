//go:build !windows

package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

// Many connections at a time to a server that takes few: all get through.
func TestSSHManyLogins(t *testing.T) {
	s := endpointtest.StartSSHDWith(t, endpointtest.Unix(t, endpointtest.Handler()), "", "MaxStartups 3:100:3")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			// Each with a path of its own, as contexts have.
			_, err := ping(t, fmt.Sprintf("%s/run/%d.sock", s.URL, i), time.Minute)
			if err != nil {
				t.Errorf("Ping: %v", err)
			}
		})
	}
	wg.Wait()
	endpointtest.NoProcess(t, s.Client)
}

// A slow login counts until it is over, as the server counts it: no more come meanwhile.
func TestSSHSlowLogins(t *testing.T) {
	s := endpointtest.StartSSHDWith(t, endpointtest.Unix(t, endpointtest.Handler()), "", fmt.Sprintf("MaxStartups %d:100:%[1]d", maxLogins+1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serveSlowly(l, "127.0.0.1:"+s.Port, 2500*time.Millisecond)
	config, err := os.ReadFile(s.Config)
	if err == nil {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		err = os.WriteFile(s.Config, fmt.Appendf(nil, "Host rdtest\nPort %s\nHostKeyAlias [127.0.0.1]:%s\n%s", port, s.Port, config), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxLogins + 3 {
		wg.Go(func() {
			if _, err := ping(t, s.URL, time.Minute); err != nil {
				t.Errorf("Ping: %v", err)
			}
		})
	}
	wg.Wait()
	if log := s.Log.String(); strings.Contains(log, "MaxStartups") {
		t.Errorf("sshd has refused some:\n%s", log)
	}
}

// serveSlowly leads those who connect to a server, whose first words take a time to arrive.
func serveSlowly(l net.Listener, server string, delay time.Duration) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		conn, err := net.Dial("tcp", server)
		if err != nil {
			_ = client.Close()
			continue
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, client)
		}()
		go func() {
			defer client.Close()
			time.Sleep(delay)
			_, _ = io.Copy(client, conn)
		}()
	}
}

// Fewer log in to one host at a time than sshd takes, which is ten.
func TestLoginsAtOnce(t *testing.T) {
	const host = "TestLoginsAtOnce:22"
	begun := 0
	for ; begun < 10; begun++ {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		done, err := beginLogin(ctx, host)
		cancel()
		if err != nil {
			break // it would wait for another
		}
		defer done()
	}
	if begun == 0 || begun == 10 {
		t.Errorf("%d log in at a time", begun)
	}
	if done, err := beginLogin(t.Context(), "another.TestLoginsAtOnce:22"); err != nil {
		t.Error(err)
	} else {
		done()
	}
}

// A server that goes on dropping connections is told from one that refuses a login.
func TestSSHDropped(t *testing.T) {
	s := endpointtest.StartSSHDWith(t, "", "", "MaxStartups 1:100:1")
	occupy(t, "127.0.0.1:"+s.Port)
	_, err := ping(t, s.URL, 20*time.Second)
	failed, ok := errors.AsType[*SSHError](err)
	if !ok || !failed.Dropped() {
		t.Errorf("Ping: %v, want it dropped\n%s", err, s.Log)
	}
}

// occupy connects to a server and does not log in, until the test ends.
func occupy(t *testing.T, address string) {
	t.Helper()
	accepted := func() bool {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		banner := make([]byte, 4)
		if _, err := io.ReadFull(conn, banner); err != nil || string(banner) != "SSH-" { // the one that saw the server start still counts
			_ = conn.Close()
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		return true
	}
	if !endpointtest.Eventually(accepted) {
		t.Fatal("the server accepts nobody")
	}
}

// What ssh says last is not always why it failed.
func TestSSHCause(t *testing.T) {
	const (
		unknown = "No ED25519 host key is known for jump and you have requested strict checking.\n"
		failed  = "Host key verification failed.\n"
		dropped = "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 127.0.0.1 port 22\n"
		closed  = "kex_exchange_identification: Connection closed by remote host\n"
		proxy   = closed + "Connection closed by UNKNOWN port 65535\n"
	)
	for _, tc := range []struct {
		name, message, cause string
		dropped              bool
	}{
		{"key", unknown + failed, unknown + failed, false},
		{"key of a jump host", unknown + failed + proxy, unknown + failed, false},
		{"login", "Welcome.\nu@h: Permission denied (publickey).\n", "Welcome.\nu@h: Permission denied (publickey).", false},
		{"login at a jump host", "Welcome.\nu@h: Permission denied (publickey).\n" + proxy, "Welcome.\nu@h: Permission denied (publickey).", false},
		{"dropped", dropped, dropped, true},
		{"closed", closed + "Connection closed by 127.0.0.1 port 22\n", closed + "Connection closed by 127.0.0.1 port 22", true},
		{"jump host dropped", dropped + proxy, proxy, true},
		{"behind a banner", "Welcome.\n" + dropped, dropped, true},
		{"ProxyCommand", proxy, proxy, false},
		{"down", "ssh: connect to host h port 22: Connection refused\n", "ssh: connect to host h port 22: Connection refused", false},
		{"nothing", "", "", false},
	} {
		e := &SSHError{Status: 255, Message: strings.TrimSpace(tc.message)}
		if got := e.Cause(); got != strings.TrimSpace(tc.cause) {
			t.Errorf("%s: the cause is %q, want %q", tc.name, got, tc.cause)
		}
		if e.Dropped() != tc.dropped {
			t.Errorf("%s: dropped is %v", tc.name, e.Dropped())
		}
		e.Status = 1
		if e.Dropped() {
			t.Errorf("%s: the remote command's words count", tc.name)
		}
	}
}

// An engine that hangs keeps nothing alive on the other side once the probe has ended, nor
// does a program there that takes no notice of the end of its input.
func TestSSHLeavesNothingThere(t *testing.T) {
	for name, docker := range map[string]string{
		"ignores its input": "while :; do sleep 1; done",
		"ignores signals":   "trap '' TERM HUP INT PIPE USR1\nwhile :; do sleep 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			s := endpointtest.StartSSHD(t, "", "")
			began := filepath.Join(s.Client, "began")
			endpointtest.Script(t, s.Remote+"/docker", "PATH=/usr/bin:/bin\n: >"+began+"\n"+docker)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { _, err := Endpoint{Host: s.URL}.Ping(ctx); done <- err }()
			if !endpointtest.Eventually(func() bool { _, err := os.Stat(began); return err == nil }) {
				t.Errorf("it did not begin:\n%s", s.Log)
			}
			cancel()
			<-done
			endpointtest.NoProcess(t, s.Remote)
		})
	}
}

// The docker on the other side would go on over ssh, which may lead back here for ever.
func TestSSHOnward(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	s := endpointtest.StartSSHDWith(t, "", "Host *\nSendEnv DOCKER_HOST DOCKER_CONTEXT", "AcceptEnv DOCKER_*")
	ran := filepath.Join(s.Client, "ran")
	endpointtest.Script(t, s.Remote+"/docker", ": >"+ran)
	config := filepath.Join(filepath.Dir(s.Remote), "config")
	const compact = `{"Name":"self","Metadata":{},"Endpoints":{"docker":{"Host":"ssh://u@self","SkipTLSVerify":false}}}`
	for _, tc := range []struct {
		name, config, meta string
		env                string // in the session
		onward             bool
	}{
		{"current context", `{"auths":{},"currentContext":"self","x":1}`, compact, "", true},
		{"laid out", "{\n\t\"currentContext\" : \"self\"\n}\n", strings.NewReplacer(":", ": ", ",", ",\n").Replace(strings.Replace(compact, "://", "%", 1)), "", true},
		{"DOCKER_CONTEXT", `{"currentContext":"other"}`, compact, "DOCKER_CONTEXT=self", true},
		{"DOCKER_HOST", `{}`, compact, "DOCKER_HOST=ssh://u@self", true},
		{"another is current", `{"currentContext":"other"}`, compact, "", false},
		{"none is current", `{"currentContext":""}`, compact, "", false},
		{"DOCKER_HOST is a socket", `{"currentContext":"self"}`, compact, "DOCKER_HOST=unix:///s", false},
		{"no configuration", "", "", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if name, value, ok := strings.Cut(tc.env, "="); ok {
				t.Setenv(name, value)
			}
			if err := errors.Join(os.RemoveAll(config), os.RemoveAll(ran)); err != nil {
				t.Fatal(err)
			}
			if tc.config != "" {
				meta := filepath.Join(config, "contexts", "meta", "x")
				err := errors.Join(
					os.MkdirAll(meta, 0o755), os.WriteFile(filepath.Join(config, "config.json"), []byte(tc.config), 0o644),
					os.WriteFile(filepath.Join(meta, "meta.json"), []byte(strings.Replace(tc.meta, "%", "://", 1)), 0o644))
				if err != nil {
					t.Fatal(err)
				}
			}
			_, err := ping(t, s.URL, 20*time.Second)
			if errors.Is(err, ErrSSHOnward) != tc.onward || tc.onward && !strings.Contains(err.Error(), `"ssh://u@self"`) {
				t.Errorf("Ping: %v\n%s", err, s.Log)
			}
			if _, err := os.Stat(ran); (err == nil) == tc.onward {
				t.Errorf("docker ran: %v", err == nil)
			}
			// The path of a socket leads nowhere else.
			_, err = ping(t, s.URL+"/run/s", 20*time.Second)
			if _, there := os.Stat(ran); errors.Is(err, ErrSSHOnward) || there != nil {
				t.Errorf("with a path: %v, %v", err, there)
			}
		})
	}
}

// An account may run one command alone, or have no shell of the usual kind.
func TestSSHWithoutShell(t *testing.T) {
	socket := endpointtest.Unix(t, endpointtest.Handler())
	const restricted = `case $SSH_ORIGINAL_COMMAND in "docker system dial-stdio") exec docker system dial-stdio;; esac; echo refused >&2; exit 1`
	const slow = `sleep 1.5; ` // longer than a greeting is waited for
	for name, script := range map[string]string{
		"forced":           `exec docker system dial-stdio`,
		"forced, slow":     slow + `exec docker system dial-stdio`,
		"restricted":       restricted,
		"restricted, slow": slow + restricted,
		"a shell, slow":    slow + `exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"`,
	} {
		t.Run(name, func(t *testing.T) {
			s := endpointtest.StartSSHD(t, socket, "")
			forced := endpointtest.Script(t, s.Client+"/forced", "PATH=$PATH:"+s.Client+"\n"+script)
			key, err := os.ReadFile(s.Authorized)
			if err == nil {
				err = os.WriteFile(s.Authorized, fmt.Appendf(nil, "command=%q %s", forced, key), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ping(t, s.URL, 20*time.Second); err != nil {
				t.Errorf("Ping: %v\n%s", err, s.Log)
			}
		})
	}
}

// The same with docker itself on the other side, whose current context is the very one that
// is pinged.
func TestSSHLeadsBackHere(t *testing.T) {
	s := endpointtest.StartSSHD(t, "", "")
	config := filepath.Join(filepath.Dir(s.Remote), "config")
	for _, docker := range dockers(t) {
		if err := os.RemoveAll(config); err != nil {
			t.Fatal(err)
		}
		create := exec.Command(docker, "--config", config, "context", "create", "self", "--docker", "host="+s.URL)
		create.Env = append(os.Environ(), "DOCKER_HOST=", "DOCKER_CONTEXT=")
		if out, err := create.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.WriteFile(filepath.Join(config, "config.json"), []byte(`{"currentContext":"self"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		called := filepath.Join(s.Client, "called")
		endpointtest.Script(t, s.Remote+"/docker", ": >"+called)
		_, err := ping(t, s.URL, 20*time.Second)
		if !errors.Is(err, ErrSSHOnward) || !strings.Contains(err.Error(), s.URL) {
			t.Errorf("%s: Ping: %v\n%s", docker, err, s.Log)
		}
		if _, err := os.Stat(called); err == nil {
			t.Error("docker was called")
		}
	}
	endpointtest.NoProcess(t, s.Client)
}
