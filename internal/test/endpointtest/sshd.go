//go:build !windows

package endpointtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// dialStdioVar makes a test binary that calls [Main] relay its standard streams to the
// unix socket it names, as `docker system dial-stdio` does.
const dialStdioVar = "ENDPOINTTEST_DIAL_STDIO"

// Main is to be called first in TestMain of packages that use [StartSSHD].
func Main() {
	path := os.Getenv(dialStdioVar)
	if path == "" {
		return
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, conn)
	os.Exit(0)
}

// An SSHD is a running sshd, with a client configuration that leads to it.
type SSHD struct {
	URL  string // ssh://user@rdtest, which the client's configuration resolves
	Port string // where sshd listens, on 127.0.0.1
	// Client is a directory for the client's side: the command lines of all ssh
	// processes contain it, and so should those of other programs that ssh starts. It
	// has a sleep program to wait with.
	Client     string
	Bin        string // a directory below Client with a program ssh: the real one, which reads Config in place of the user's
	Config     string // the client's configuration
	KnownHosts string
	Authorized string  // authorized_keys
	Remote     string  // the PATH of remote commands
	Log        *Buffer // what sshd logs
	dir        string
}

// StartSSHD is [NewSSHD], and while the test runs, its Bin is first on the PATH.
func StartSSHD(t *testing.T, socket, extra string) *SSHD {
	t.Helper()
	return StartSSHDWith(t, socket, extra, "")
}

// StartSSHDWith is [StartSSHD] with more lines for the server's configuration.
func StartSSHDWith(t *testing.T, socket, extra, server string) *SSHD {
	t.Helper()
	s := newSSHD(t, socket, extra, server)
	t.Setenv("PATH", s.Bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return s
}

// NewSSHD starts sshd on a loopback port until the test ends. Remote commands find a
// program docker that relays dial-stdio to the engine on the unix socket at the given path;
// tests may replace it. extra is prepended to the client's configuration.
func NewSSHD(t testing.TB, socket, extra string) *SSHD {
	t.Helper()
	return newSSHD(t, socket, extra, "")
}

func newSSHD(t testing.TB, socket, extra, server string) *SSHD {
	t.Helper()
	dir := Dir(t)
	s := &SSHD{
		dir: dir, Log: new(Buffer),
		Client:     filepath.Join(dir, "client"),
		Config:     filepath.Join(dir, "client", "ssh_config"),
		KnownHosts: filepath.Join(dir, "known_hosts"),
		Authorized: filepath.Join(dir, "id.pub"),
		Remote:     filepath.Join(dir, "remote"),
	}
	for _, d := range []string{s.Client, s.Remote} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "sleep", s.Client)
	for _, program := range []string{"cat", "grep", "sed", "mktemp", "mkfifo", "rm"} {
		link(t, program, s.Remote)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "ssh://" + me.Username + "@rdtest"
	for _, key := range []string{"host_key", "id"} {
		run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	Script(t, filepath.Join(s.Remote, "docker"), fmt.Sprintf("GORACE=atexit_sleep_ms=0 %s=%s exec %s", dialStdioVar, socket, self))

	host, port, err := net.SplitHostPort(ClosedPort(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	s.Port = port
	// By SHLVL, bash thinks that it is started by another shell, and does not read the user's ~/.bashrc,
	// which may be slow.
	write(t, filepath.Join(dir, "sshd_config"), fmt.Sprintf(`%s
Port %s
ListenAddress 127.0.0.1
HostKey %s/host_key
AuthorizedKeysFile %s/id.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv PATH=%s DOCKER_CONFIG=%[4]s/config SHLVL=1
LogLevel VERBOSE
`, server, port, dir, dir, s.Remote))
	hostKey, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.KnownHosts, fmt.Sprintf("[127.0.0.1]:%s %s", port, hostKey))
	write(t, s.Config, fmt.Sprintf(`%s
Host rdtest
HostName %s
Port %s
IdentityFile %s/id
IdentitiesOnly yes
UserKnownHostsFile %s
GlobalKnownHostsFile /dev/null
`, extra, host, port, dir, s.KnownHosts))

	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	s.Bin = filepath.Join(s.Client, "bin")
	Script(t, filepath.Join(s.Bin, "ssh"), fmt.Sprintf(`exec %s -F %s "$@"`, real, s.Config))
	s.start(t, net.JoinHostPort(host, port))
	return s
}

func (s *SSHD) start(t testing.TB, address string) {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not on everyone's PATH
	}
	args := []string{sshd, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config")}
	if os.Getuid() == 0 {
		// As root it wants /run/sshd, which need not be there and is not ours to make;
		// and its sessions shall end with it.
		const script = `mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$@"`
		args = append([]string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = s.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	up := Eventually(func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	if !up {
		t.Fatalf("sshd does not listen on %s:\n%s", address, s.Log)
	}
}

func link(t testing.TB, program, dir string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		err = os.Symlink(path, filepath.Join(dir, program))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A Buffer may be written and read at the same time.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
