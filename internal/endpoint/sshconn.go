package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
)

// reapTimeout bounds the wait for killed processes when a connection is closed.
const reapTimeout = 50 * time.Millisecond

// sshConn is a connection through the standard streams of an ssh process.
type sshConn struct {
	group   *group
	in      *os.File      // to ssh's standard input
	out     *os.File      // from its standard output
	errs    *os.File      // from its standard error
	greeted chan struct{} // closed when our command has begun on the other side
	exited  chan struct{}
	drained chan struct{}
	// loggedIn is called, any number of times, when the login is over.
	loggedIn func()
	isHTTP   bool // an answer of HTTP is to come

	mu      sync.Mutex
	stderr  []byte // its last bytes, without what came before the greeting
	begun   bool   // the greeting has come
	closing sync.Once
	closed  bool
}

// maxStderr bounds the part of standard error that is kept: banners may be long.
const maxStderr = 4096

func (c *sshConn) drain() {
	defer close(c.drained)
	buf := make([]byte, 1024)
	for {
		n, err := c.errs.Read(buf)
		c.mu.Lock()
		c.say(buf[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// say takes in output on standard error.
func (c *sshConn) say(text []byte) {
	c.stderr = append(c.stderr, text...)
	if !c.begun {
		if _, after, ok := bytes.Cut(c.stderr, []byte(greeting+"\n")); ok {
			c.begun, c.stderr = true, bytes.Clone(after)
			close(c.greeted)
			c.loggedIn()
		}
	}
	if over := len(c.stderr) - maxStderr; over > 0 {
		c.stderr = append(c.stderr[:0], c.stderr[over:]...)
	}
}

func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	c.loggedIn()
	if n > 0 && c.isHTTP {
		c.isHTTP = false
		if begin := p[:n]; !bytes.HasPrefix(begin, []byte("HTTP/")[:min(n, len("HTTP/"))]) {
			line, _, _ := bytes.Cut(begin, []byte("\n"))
			return 0, fmt.Errorf("%w: %q", ErrSSHNoise, bytes.TrimSpace(line))
		}
	}
	if err != nil && n == 0 {
		err = c.cause(err)
	}
	return n, err
}

// awaitAnswer asks the engine on a new connection whether it is there, and waits for its answer. The
// connection may be used if the error is nil.
func (c *sshConn) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	req, err := http.NewRequest(http.MethodHead, "http://"+client.DummyHost+"/_ping", nil)
	if err != nil {
		return err
	}
	_, err = exchange(ctx, c, req)
	return err
}

func (c *sshConn) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if err != nil {
		err = c.cause(err)
	}
	return n, err
}

// cause returns why ssh has ended, if it has, in place of the end of a stream.
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
	if failure := c.failure(); failure != nil {
		return failure
	}
	return io.EOF
}

// failure returns why ssh has failed, nil if it has not. Call it after the exit.
func (c *sshConn) failure() error {
	// The group is dead, so all output is in the pipe. Only a process that has left the group
	// could hold it open.
	select {
	case <-c.drained:
	case <-time.After(reapTimeout):
	}
	c.mu.Lock()
	message := strings.TrimSpace(string(c.stderr))
	c.mu.Unlock()
	status := c.group.status()
	if status == 0 {
		return nil
	}
	if host, ok := strings.CutPrefix(message, onward); ok && status == onwardStatus {
		return fmt.Errorf("%w: %q", ErrSSHOnward, strings.TrimSpace(host))
	}
	return &SSHError{Status: status, Message: message}
}

// Close kills ssh with its group, and waits for its end.
func (c *sshConn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.group.kill()
		closeAll(c.in, c.out, c.errs)
	})
	select {
	case <-c.exited:
	case <-time.After(reapTimeout): // stuck in the kernel; reaped when it comes out
	}
	return nil
}

// closeAll closes files, of which some may be nil.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// CloseWrite half-closes the connection, as attached streams need.
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
