//go:build unix

package relay_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/relay"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

func TestMain(m *testing.M) {
	endpointtest.Main()
	os.Exit(m.Run())
}

// A way is one to an engine that is elsewhere, made for a handler of connections.
type way struct {
	name string
	make func(t *testing.T, serve func(net.Conn)) endpoint.Endpoint
}

var ways = []way{
	{"tcp", func(t *testing.T, serve func(net.Conn)) endpoint.Endpoint {
		l := endpointtest.Listen(t, "127.0.0.1")
		serveConns(t, l, serve)
		return endpoint.Endpoint{Host: "tcp://" + l.Addr().String()}
	}},
	{"tls", func(t *testing.T, serve func(net.Conn)) endpoint.Endpoint {
		ca := endpointtest.NewAuthority(t)
		client := ca.Issue(t, time.Now().Add(time.Hour))
		l := ca.Listen(t)
		serveConns(t, l, serve)
		return endpoint.Endpoint{
			Host: "tcp://" + l.Addr().String(),
			TLS:  &endpoint.TLS{CA: ca.PEM, Cert: client.Cert, Key: client.Key},
		}
	}},
	{"ssh", func(t *testing.T, serve func(net.Conn)) endpoint.Endpoint {
		l, err := net.Listen("unix", filepath.Join(endpointtest.Dir(t), "s"))
		if err != nil {
			t.Fatal(err)
		}
		serveConns(t, l, answering(serve))
		sshd := endpointtest.StartSSHD(t, l.Addr().String(), "")
		t.Cleanup(func() { endpointtest.NoProcess(t, sshd.Client) })
		return endpoint.Endpoint{Host: sshd.URL}
	}},
}

// answering has an engine first answer whether it is there: over ssh it is asked that where the login takes
// long.
func answering(serve func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if begin, _ := r.Peek(1); string(begin) == "H" { // of HEAD: no text of a test begins so
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		}
		serve(&peeked{conn.(*net.UnixConn), r})
	}
}

// peeked is a connection that was read from.
type peeked struct {
	*net.UnixConn
	r io.Reader
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// serveConns serves each connection until the test ends.
func serveConns(t *testing.T, l net.Listener, serve func(net.Conn)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

// relayTo relays to ep until the test ends and returns the socket's path.
func relayTo(t *testing.T, ep endpoint.Endpoint) string {
	t.Helper()
	socket := filepath.Join(endpointtest.Dir(t), "d", "s")
	l, err := relay.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, ep.Dial)
	return socket
}

// serveOn serves a relay on l until the test ends, or end is called.
func serveOn(t *testing.T, l net.Listener, dial func(context.Context) (net.Conn, error)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := relay.Relay{Dial: dial, Log: slog.New(slog.DiscardHandler)}
		r.Serve(ctx, l)
	}()
	end = func() {
		cancel()
		<-done
	}
	t.Cleanup(end)
	return end
}

func dial(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

// eachWay runs a test over every way, with a relay to what serve serves.
func eachWay(t *testing.T, serve func(net.Conn), test func(t *testing.T, socket string)) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(t, relayTo(t, w.make(t, serve))) })
	}
}

type halfCloser interface {
	io.ReadWriter
	CloseWrite() error
}

// A client may end what it says and go on listening, as `docker exec -i` does at the end of
// its input: the engine hears the end and answers.
func TestClientEndsItsHalf(t *testing.T) {
	eachWay(t, func(conn net.Conn) {
		said, err := io.ReadAll(conn)
		_, _ = fmt.Fprintf(conn, "heard %d bytes, %v", len(said), err)
	}, func(t *testing.T, socket string) {
		conn := dial(t, socket)
		// More than all buffers between hold.
		if _, err := conn.Write(bytes.Repeat([]byte("x"), 4<<20)); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if want := fmt.Sprintf("heard %d bytes, <nil>", 4<<20); string(answer) != want || err != nil {
			t.Errorf("got %q, %v, want %q", answer, err, want)
		}
	})
}

// The engine may end what it says and go on listening. Over ssh, dial-stdio ends then, with
// docker's own client too.
func TestEngineEndsItsHalf(t *testing.T) {
	heard := make(chan string, 1)
	serve := func(conn net.Conn) {
		_, _ = bufio.NewReader(io.LimitReader(conn, 6)).ReadString('\n')
		_, _ = io.WriteString(conn, "bye")
		_ = conn.(halfCloser).CloseWrite()
		rest, _ := io.ReadAll(conn)
		heard <- string(rest)
	}
	for _, w := range ways[:2] {
		t.Run(w.name, func(t *testing.T) {
			conn := dial(t, relayTo(t, w.make(t, serve)))
			_, _ = io.WriteString(conn, "hello\n")
			if answer, err := io.ReadAll(conn); string(answer) != "bye" || err != nil {
				t.Fatalf("got %q, %v", answer, err)
			}
			_, _ = io.WriteString(conn, "and more")
			_ = conn.CloseWrite()
			if rest := <-heard; rest != "and more" {
				t.Errorf("the engine heard %q", rest)
			}
		})
	}
}

// Both sides speak whenever they like, as in a hijacked stream.
func TestBothSpeakAtOnce(t *testing.T) {
	eachWay(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }, func(t *testing.T, socket string) {
		conn := dial(t, socket)
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.CloseWrite()
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
		}
	})
}

// A client that goes away in the middle of an answer ends the request, whether or not the engine has
// more to send, and whether or not the client has read everything.
func TestClientGoesAway(t *testing.T) {
	for name, spoken := range map[string]string{"silent": "", "unread": "some news"} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{}, 1)
			eachWay(t, func(conn net.Conn) {
				_, _ = bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, spoken)
				_, _ = io.Copy(io.Discard, conn)
				gone <- struct{}{}
			}, func(t *testing.T, socket string) {
				conn := dial(t, socket)
				_, _ = io.WriteString(conn, "follow\n")
				if spoken != "" {
					if _, err := conn.Read(make([]byte, 1)); err != nil {
						t.Fatal(err)
					}
				}
				_ = conn.Close()
				<-gone
			})
		})
	}
}

// A client that has ended its half and then goes away leaves nothing behind, although the
// engine does not care.
func TestDeafEngine(t *testing.T) {
	relay.SetGrace(t, 10*time.Millisecond)
	never := make(chan struct{})
	var relayed atomic.Int32
	l, err := relay.Listen(filepath.Join(endpointtest.Dir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ep := ways[0].make(t, func(net.Conn) { <-never })
	t.Cleanup(func() { close(never) })
	serveOn(t, l, func(ctx context.Context) (net.Conn, error) {
		conn, err := ep.Dial(ctx)
		relayed.Add(1)
		return &counted{conn.(*net.TCPConn), &relayed}, err
	})
	conn := dial(t, l.Addr().String())
	_, _ = io.WriteString(conn, "exec\n")
	_ = conn.CloseWrite()
	if !endpointtest.Eventually(func() bool { return relayed.Load() == 1 }) {
		t.Fatal("nothing is relayed")
	}
	_ = conn.Close()
	if !endpointtest.Eventually(func() bool { return relayed.Load() == 0 }) {
		t.Error("the connection to the engine is not closed")
	}
}

// counted counts the connections that are not closed.
type counted struct {
	*net.TCPConn
	open *atomic.Int32
}

func (c *counted) Close() error {
	c.open.Add(-1)
	return c.TCPConn.Close()
}

// An engine that answers before it has heard all, and hears no more, is understood.
func TestEngineHearsNoMore(t *testing.T) {
	const answer = "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	eachWay(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_, _ = io.WriteString(conn, answer)
		if c, ok := conn.(halfCloser); ok {
			_ = c.CloseWrite()
		}
		// As servers do it, so that the answer is not lost with the reset.
		_, _ = io.CopyN(io.Discard, conn, 1<<20)
	}, func(t *testing.T, socket string) {
		conn := dial(t, socket)
		go func() { _, _ = io.Copy(conn, endless{}) }()
		got := make([]byte, len(answer))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != answer {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Who asks for an engine that can't be reached gets to know why.
func TestUnreachable(t *testing.T) {
	sshd := endpointtest.StartSSHD(t, endpointtest.StaleSocket(t), "")
	authority, other := endpointtest.NewAuthority(t), endpointtest.NewAuthority(t)
	secure := endpointtest.TLS(t, authority.Issue(t, time.Now().Add(time.Hour)), nil, endpointtest.Handler())
	for name, c := range map[string]struct {
		ep   endpoint.Endpoint
		want string
	}{
		"refused":      {endpoint.Endpoint{Host: "tcp://" + endpointtest.ClosedPort(t, "127.0.0.1")}, "connection refused"},
		"untrusted":    {endpoint.Endpoint{Host: "tcp://" + secure, TLS: &endpoint.TLS{CA: other.PEM}}, "certificate"},
		"remote fails": {endpoint.Endpoint{Host: sshd.URL}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := relayTo(t, c.ep)
			resp, err := httpClient(socket).Get("http://engine/info")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(body), `{"message":"no connection to the engine: `) || !strings.Contains(string(body), c.want) {
				t.Errorf("got %s: %s", resp.Status, body)
			}
			head, err := httpClient(socket).Head("http://engine/_ping")
			if err != nil {
				t.Fatal(err)
			}
			_ = head.Body.Close()
			if head.StatusCode != http.StatusBadGateway {
				t.Errorf("HEAD got %s", head.Status)
			}
		})
	}
}

func httpClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, DisableKeepAlives: true}}
}

// Who says nothing costs the engine no connection.
func TestSilentClient(t *testing.T) {
	var dialled atomic.Int32
	l, err := relay.Listen(filepath.Join(endpointtest.Dir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	end := serveOn(t, l, func(context.Context) (net.Conn, error) {
		dialled.Add(1)
		return nil, errors.New("refused")
	})
	for range 3 {
		dial(t, l.Addr().String())
	}
	closed := dial(t, l.Addr().String())
	_ = closed.Close()
	end() // which also ends those that say nothing
	if n := dialled.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Many clients at once log in a few at a time: sshd would refuse some of more than that.
func TestManyAtOnceOverSSH(t *testing.T) {
	const clients = 24
	engine := endpointtest.Unix(t, endpointtest.Handler())
	sshd := endpointtest.StartSSHD(t, engine, "")
	socket := relayTo(t, endpoint.Endpoint{Host: sshd.URL})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			resp, err := httpClient(socket).Get("http://engine/_ping")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
				t.Errorf("got %s: %s", resp.Status, body)
			}
		})
	}
	all.Wait()
	if log := sshd.Log.String(); strings.Contains(log, "MaxStartups") {
		t.Errorf("sshd has refused some:\n%s", log)
	}
	endpointtest.NoProcess(t, sshd.Client)
}

// The end of a relay ends all connections and removes the socket.
func TestEnd(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			gone := make(chan struct{})
			ep := w.make(t, func(conn net.Conn) {
				_, _ = io.Copy(conn, conn)
				close(gone)
			})
			l, err := relay.Listen(filepath.Join(endpointtest.Dir(t), "s"))
			if err != nil {
				t.Fatal(err)
			}
			end := serveOn(t, l, ep.Dial)
			conn := dial(t, l.Addr().String())
			_, _ = io.WriteString(conn, "x")
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			end()
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d bytes after the end", n)
			}
			<-gone
			if _, err := os.Lstat(l.Addr().String()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is there: %v", err)
			}
		})
	}
}

// A socket that a dead process left is replaced; anything else is not ours to remove.
func TestListen(t *testing.T) {
	stale := endpointtest.StaleSocket(t)
	l, err := relay.Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(stale)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	_ = l.Close()

	file := filepath.Join(endpointtest.Dir(t), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := relay.Listen(file); err == nil {
		_ = l.Close()
		t.Error("a file was taken for a socket")
	}
	if data, _ := os.ReadFile(file); string(data) != "mine" {
		t.Errorf("the file has %q now", data)
	}
}
