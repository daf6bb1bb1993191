package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/docker/cli/cli/connhelper/ssh"
)

// sshFlags make ssh, and every ssh that it starts (see guarded), safe to run unattended.
// For the rest the user's own configuration stays in force. See ssh_config(5).
var sshFlags = []string{
	"-T",                  // no terminal
	"-o", "BatchMode=yes", // ask nothing
	"-o", "ControlMaster=no", // leave no master connection (one that is there is used)
	"-o", "StrictHostKeyChecking=yes", // these three: known_hosts stays as it is
	"-o", "UpdateHostKeys=no",
	"-o", "CheckHostIP=no",
	"-o", "ClearAllForwardings=yes", // the user's forwarded ports belong to his sessions
	"-o", "PermitLocalCommand=no",
	"-o", "AddKeysToAgent=no", // nor does the agent learn anything
	"-o", "ConnectTimeout=30",
	"-o", "ServerAliveInterval=15", // a connection that is half open ends within a minute
	"-o", "ServerAliveCountMax=3",
}

// ErrSSHMissing says that there is no ssh program.
var ErrSSHMissing = errors.New("ssh program not found")

// reapTimeout bounds how long closing a connection waits for killed processes.
const reapTimeout = 50 * time.Millisecond

// sshArgs returns ssh's arguments to run docker's dial-stdio on the host of a URL.
func sshArgs(host string) ([]string, error) {
	spec, err := ssh.ParseURL(host)
	if err != nil {
		return nil, err
	}
	remote := []string{"docker", "system", "dial-stdio"}
	if strings.Trim(spec.Path, "/") != "" {
		remote = []string{"docker", "--host=unix://" + spec.Path, "system", "dial-stdio"}
	}
	return spec.Command(nil, remote...)
}

func sshDialer(host string) (dialFunc, error) {
	args, err := sshArgs(host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		done, err := beginLogin(ctx, host)
		if err != nil {
			return nil, err
		}
		return dialSSH(args, done)
	}, nil
}

// An SSHError says how ssh ended.
type SSHError struct {
	// Status is its exit status: 255 for failures of its own, else the remote
	// command's; -1 if a signal ended it.
	Status int
	// Message is the end of what it printed to standard error, such as
	// "Host key verification failed."
	Message string
}

func (e *SSHError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("ssh exited with status %d", e.Status)
	}
	return fmt.Sprintf("ssh exited with status %d: %s", e.Status, e.Message)
}

// dialSSH starts ssh and returns its standard streams as a connection. The process
// lives as long as the connection, not as long as a context: net/http keeps the
// connection for later requests. LoggedIn is called once, when it has logged in or never
// will.
func dialSSH(args []string, loggedIn func()) (_ net.Conn, err error) {
	defer func() {
		if err != nil {
			loggedIn()
		}
	}()
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSSHMissing, err)
	}
	c := &sshConn{exited: make(chan struct{}), drained: make(chan struct{}), loggedIn: sync.OnceFunc(loggedIn)}
	cmd := guarded(program, args)
	// A security key that waits for a touch would open a window.
	cmd.Env = append(cmd.Environ(), "SSH_ASKPASS_REQUIRE=never")

	// Pipes of our own: os/exec's would make Wait wait for everyone who holds them.
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	for _, p := range []struct {
		child func(*os.File)
		ours  **os.File
		write bool
	}{
		{func(f *os.File) { cmd.Stdin = f }, &c.in, true},
		{func(f *os.File) { cmd.Stdout = f }, &c.out, false},
		{func(f *os.File) { cmd.Stderr = f }, &c.errs, false},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			c.closeFiles()
			return nil, fmt.Errorf("ssh: %w", err)
		}
		if p.write {
			r, w = w, r
		}
		*p.ours = r
		p.child(w)
		theirs = append(theirs, w)
	}
	if c.group, err = startGroup(cmd); err != nil {
		c.closeFiles()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	go c.drain()
	// Until the engine says something, nothing tells that the login is over.
	patience := time.AfterFunc(loginPatience, c.loggedIn)
	go func() {
		c.group.wait()
		close(c.exited)
		patience.Stop()
		c.loggedIn()
	}()
	return c, nil
}

// sshConn is a connection through the standard streams of an ssh process.
type sshConn struct {
	group   *group
	in      *os.File // to ssh's standard input
	out     *os.File // from its standard output
	errs    *os.File // from its standard error
	exited  chan struct{}
	drained chan struct{}
	// loggedIn is called, any number of times, when the login is over.
	loggedIn func()

	mu      sync.Mutex
	stderr  []byte // its last bytes
	closing sync.Once
	closed  bool
}

// maxStderr is how much of ssh's standard error is kept: banners may be long.
const maxStderr = 4096

func (c *sshConn) drain() {
	defer close(c.drained)
	buf := make([]byte, 1024)
	for {
		n, err := c.errs.Read(buf)
		c.mu.Lock()
		c.stderr = append(c.stderr, buf[:n]...)
		if over := len(c.stderr) - maxStderr; over > 0 {
			c.stderr = append(c.stderr[:0], c.stderr[over:]...)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	c.loggedIn()
	if err != nil && n == 0 {
		err = c.cause(err)
	}
	return n, err
}

func (c *sshConn) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if err != nil {
		err = c.cause(err)
	}
	return n, err
}

// cause turns the end of a stream into the reason why ssh ended, if it did.
func (c *sshConn) cause(err error) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	const patience = time.Second // the stream ends before the process
	select {
	case <-c.exited:
	case <-time.After(patience):
		return err
	}
	// Its group is dead, so what it said is all in the pipe. Only a process that left
	// the group could hold the pipe open.
	select {
	case <-c.drained:
	case <-time.After(reapTimeout):
	}
	c.mu.Lock()
	message := strings.TrimSpace(string(c.stderr))
	c.mu.Unlock()
	status := c.group.status()
	if status == 0 {
		return io.EOF
	}
	return &SSHError{Status: status, Message: message}
}

// Close kills ssh and all that it started, and waits until they are gone.
func (c *sshConn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.group.kill()
		c.closeFiles()
	})
	select {
	case <-c.exited:
	case <-time.After(reapTimeout): // stuck in the kernel; reaped when it comes out
	}
	return nil
}

func (c *sshConn) closeFiles() {
	for _, f := range []*os.File{c.in, c.out, c.errs} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// CloseWrite tells the engine that nothing more comes, as attached streams need it.
func (c *sshConn) CloseWrite() error { return c.in.Close() }

func (c *sshConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
func (c *sshConn) SetReadDeadline(t time.Time) error  { return c.out.SetReadDeadline(t) }
func (c *sshConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

func (c *sshConn) LocalAddr() net.Addr  { return sshAddr{} }
func (c *sshConn) RemoteAddr() net.Addr { return sshAddr{} }

type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "ssh" }
