package endpoint

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// IsLocal reports whether e is a socket or a pipe of this machine.
func (e Endpoint) IsLocal() bool {
	s := e.Scheme()
	return s == "unix" || s == "npipe"
}

// CanDial reports whether [Endpoint.Dial] can work: only requests reach an engine below a path,
// such as "tcp://host:2375/engine".
func (e Endpoint) CanDial() bool {
	switch e.Scheme() {
	case "tcp", "http", "https":
		u, err := url.Parse(e.Host)
		return err == nil && strings.Trim(u.Path, "/") == ""
	}
	return true
}

// Dial connects to the engine through TLS, ssh and proxies: on the connection the Docker API is
// spoken as on the engine's socket. The caller sends the headers. Dial ends with ctx, the
// connection does not. It can be half-closed.
func (e Endpoint) Dial(ctx context.Context) (net.Conn, error) {
	dial, err := e.Dialer()
	if err != nil {
		return nil, err
	}
	return dial(ctx)
}

// Dialer returns [Endpoint.Dial] for many connections: over TLS later ones resume the session of a
// former one where the engine permits that, which is cheaper.
func (e Endpoint) Dialer() (func(context.Context) (net.Conn, error), error) {
	if e.Scheme() == "ssh" {
		dial, err := e.sshDialer(true)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (net.Conn, error) { return dial(ctx, "", "") }, nil
	}
	t, host, err := e.transport()
	if err != nil {
		return nil, err
	}
	if !e.CanDial() {
		return nil, fmt.Errorf("host %q: %w: no connection can lead to a path", e.Shown(), ErrAddress)
	}
	if s := e.Scheme(); s != "tcp" && s != "http" && s != "https" {
		return func(ctx context.Context) (net.Conn, error) { return t.DialContext(ctx, "", "") }, nil
	}
	base, err := baseURL(host, t.TLSClientConfig != nil)
	if err != nil {
		return nil, err
	}
	if config := t.TLSClientConfig; config != nil {
		config.ServerName = cmp.Or(config.ServerName, base.Hostname())
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return func(ctx context.Context) (net.Conn, error) { return dialTCP(ctx, t, base) }, nil
}

// dialTCP connects to a URL's host, through TLS if t has that.
func dialTCP(ctx context.Context, t *http.Transport, to *url.URL) (net.Conn, error) {
	// Proxies and TLS have no other deadline.
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := dialThrough(ctx, t, to)
	if err != nil || t.TLSClientConfig == nil {
		return conn, err
	}
	secure := tls.Client(conn, t.TLSClientConfig)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// dialThrough connects to a URL's host, through the environment's proxy for it, if any.
func dialThrough(ctx context.Context, t *http.Transport, to *url.URL) (net.Conn, error) {
	proxy, err := t.Proxy(&http.Request{URL: to})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if proxy == nil {
		return t.DialContext(ctx, "tcp", hostPort(to))
	}
	if proxy.Scheme != "http" {
		return nil, fmt.Errorf("proxy %q: %w", proxy.Redacted(), ErrScheme)
	}
	conn, err := t.DialContext(ctx, "tcp", hostPort(proxy))
	if err != nil {
		return nil, fmt.Errorf("proxy %q: %w", proxy.Redacted(), err)
	}
	if err := connectThrough(ctx, conn, proxy, hostPort(to)); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy %q: %w", proxy.Redacted(), err)
	}
	return conn, nil
}

// connectThrough asks the proxy on conn for a tunnel to an address.
func connectThrough(ctx context.Context, conn net.Conn, proxy *url.URL, address string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		auth := &http.Request{Header: http.Header{}}
		auth.SetBasicAuth(u.Username(), password)
		req.Header.Set("Proxy-Authorization", auth.Header.Get("Authorization"))
	}
	resp, err := exchange(ctx, conn, req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return newStatusError(resp.StatusCode, nil)
	}
	return nil
}

// exchange sends a request on a connection and returns the answer, which has no body: it must not be
// closed, as what follows on the connection is the caller's. Nothing follows before the engine is
// asked, so the reader buffers nothing of it. The connection is of no use after an error, such as ctx's.
func exchange(ctx context.Context, conn net.Conn, req *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := req.Write(conn)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(bufio.NewReader(conn), req)
	}
	if !stop() {
		return nil, ctx.Err()
	}
	return resp, err
}

// hostPort returns a URL's host with its port.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
