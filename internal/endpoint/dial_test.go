package endpoint

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

// A proxy is asked to lead to the engine, and told who asks. The engine is on the loopback
// address, for which the environment's proxies are never used.
func TestDialThroughProxy(t *testing.T) {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "engine") }))
	defer engine.Close()
	proxy := httptest.NewServer(http.HandlerFunc(connectProxy))
	defer proxy.Close()
	for name, c := range map[string]struct {
		user   *url.Userinfo
		status int // of the proxy's refusal
	}{
		"known":   {user: url.UserPassword("me", "secret")},
		"unknown": {status: http.StatusProxyAuthRequired},
	} {
		t.Run(name, func(t *testing.T) {
			through, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			through.User = c.user
			transport, host, err := Endpoint{Host: "tcp://" + engine.Listener.Addr().String()}.transport()
			if err != nil {
				t.Fatal(err)
			}
			transport.Proxy = http.ProxyURL(through)
			to, err := baseURL(host, false)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := dialThrough(t.Context(), transport, to)
			if c.status != 0 {
				if status, ok := errors.AsType[*StatusError](err); !ok || status.Status != c.status {
					t.Errorf("got %v, want HTTP status %d", err, c.status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); string(body) != "engine" {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

// connectProxy leads who is known to where he wants.
func connectProxy(w http.ResponseWriter, r *http.Request) {
	auth := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	if user, password, _ := auth.BasicAuth(); r.Method != http.MethodConnect || user != "me" || password != "secret" {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	w.WriteHeader(http.StatusOK)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(to, conn) }()
	_, _ = io.Copy(conn, to)
}

// A proxy that says nothing does not hold up whoever has no time.
func TestDialThroughSilentProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		cancel() // when the dialer waits for the answer, or is about to
		if err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	}()
	transport, host, err := Endpoint{Host: "tcp://127.0.0.1:1"}.transport()
	if err != nil {
		t.Fatal(err)
	}
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})
	to, err := baseURL(host, false)
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := dialThrough(ctx, transport, to); err == nil {
		_ = conn.Close()
		t.Error("a proxy that says nothing leads to the engine")
	}
}

func TestCanDial(t *testing.T) {
	for host, want := range map[string]bool{
		"tcp://127.0.0.1:2375": true, "tcp://127.0.0.1:2375/": true, "https://127.0.0.1:2376": true,
		"ssh://me@there/run/docker.sock": true, "unix:///run/docker.sock": true,
		"tcp://127.0.0.1:2375/engine": false,
	} {
		e := Endpoint{Host: host}
		if got := e.CanDial(); got != want {
			t.Errorf("CanDial of %s is %v", host, got)
		}
		if !want {
			if _, err := e.Dial(t.Context()); !errors.Is(err, ErrAddress) {
				t.Errorf("Dial to %s: %v", host, err)
			}
		}
	}
}

// Later connections resume the session of a former one: that saves the certificates.
func TestDialerResumes(t *testing.T) {
	authority := endpointtest.NewAuthority(t)
	pair := authority.Issue(t, time.Now().Add(time.Hour))
	l := authority.Listen(t)
	endpointtest.Serve(t, l, endpointtest.Handler())
	e := Endpoint{Host: "tcp://" + l.Addr().String(), TLS: &TLS{CA: authority.PEM, Cert: pair.Cert, Key: pair.Key}}
	dial, err := e.Dialer()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true} {
		conn, err := dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.(*tls.Conn).ConnectionState().DidResume; got != want {
			t.Errorf("resumed: %t, want %t", got, want)
		}
		if _, err := io.WriteString(conn, "GET /_ping HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}
