package endpoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-connections/tlsconfig"
	"github.com/moby/moby/client"
)

// maxSocketPath is the longest path of a unix socket in bytes, without the final NUL.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// ErrPathTooLong says that a unix socket's path does not fit into an address.
var ErrPathTooLong = errors.New("socket path is too long")

// keepAlive detects within about a minute that the peer of a quiet connection is gone: an event
// stream never sends.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}

// handshakeTimeout bounds dials and TLS handshakes: net/http goes on with them when the request is
// cancelled.
const handshakeTimeout = 30 * time.Second

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer returns a dial function for e, and the host for docker's client. An invalid address is an
// error.
func (e Endpoint) dialer() (dial dialFunc, host string, err error) {
	switch scheme(e.Host) {
	case "unix":
		path := e.Host[len("unix://"):]
		if len(path) > maxSocketPath {
			return nil, "", fmt.Errorf("%w: %q", ErrPathTooLong, path)
		}
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}, e.Host, nil
	case "npipe":
		dial, err := pipeDialer(e.Host[len("npipe://"):])
		return dial, e.Host, err
	case "ssh":
		dial, err := e.sshDialer(false)
		// A host that is never resolved: docker's own choice for connection helpers.
		return dial, "http://docker.example.com", err
	case "tcp", "http", "https":
		// docker's client ignores a user of tcp, and connects to no other.
		if u, err := url.Parse(e.Host); err == nil && u.User != nil && u.Scheme != "tcp" {
			return nil, "", fmt.Errorf("%w: %w", ErrAddress, errUser)
		}
		d := &net.Dialer{Timeout: handshakeTimeout, KeepAliveConfig: keepAlive}
		return d.DialContext, e.Host, nil
	case "":
		return nil, "", fmt.Errorf("host %q: %w", e.Shown(), ErrNoHost)
	}
	return nil, "", fmt.Errorf("host %q: %w", e.Shown(), ErrScheme)
}

// transport returns an HTTP transport to e, and the host for docker's client.
func (e Endpoint) transport() (*http.Transport, string, error) {
	dial, host, err := e.dialer()
	if err != nil {
		return nil, "", err
	}
	t := &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: handshakeTimeout,
		// As many as a mirror's concurrent lookups: each would have to connect otherwise.
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     30 * time.Second,
		ReadBufferSize:      32 << 10, // events and lists come in many small chunks
	}
	switch scheme(e.Host) {
	case "ssh":
		t.MaxConnsPerHost = 10 // each is a process here and two there
		t.DisableCompression = true
	case "tcp", "http", "https":
		t.Proxy = http.ProxyFromEnvironment // as docker does
		if t.TLSClientConfig, err = e.tlsConfig(); err != nil {
			return nil, "", err
		}
	default:
		t.DisableCompression = true
	}
	return t, host, nil
}

// tlsConfig returns nil for plain text, by the rules of docker.Endpoint.
func (e Endpoint) tlsConfig() (*tls.Config, error) {
	if e.TLS == nil && !e.SkipTLSVerify {
		return nil, nil
	}
	config := tlsconfig.ClientDefault()
	config.InsecureSkipVerify = e.SkipTLSVerify
	if e.TLS == nil {
		return config, nil
	}
	if e.TLS.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(e.TLS.CA) {
			return nil, fmt.Errorf("%w: no certificate in ca.pem", ErrTLSMaterial)
		}
	}
	if e.TLS.Cert != nil && e.TLS.Key != nil {
		pair, err := tls.X509KeyPair(e.TLS.Cert, e.TLS.Key)
		if err != nil && bytes.Contains(e.TLS.Key, []byte("ENCRYPTED")) { // in the header of either form
			err = errors.New("the key is encrypted")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: client certificate: %w", ErrTLSMaterial, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// A Client is docker's API client for an endpoint, and can return raw answers ([Client.Get]).
type Client struct {
	*client.Client
	http    *http.Client
	base    *url.URL
	headers map[string]string

	negotiating chan struct{} // holds one value while the version is used
	version     string        // of the API, once it is negotiated
}

// Client returns an API client for e. It connects with the first request, negotiates
// the API version and ignores DOCKER_API_VERSION. Requests end with their context.
// The caller closes the client after its streams have ended: that ends every idle
// connection and, over ssh, its processes.
func (e Endpoint) Client() (*Client, error) {
	t, host, err := e.transport()
	if err != nil {
		return nil, err
	}
	base, err := baseURL(host, t.TLSClientConfig != nil)
	if err != nil {
		return nil, err
	}
	c, err := client.New(
		// The host first: it would replace the dialer and set a proxy.
		client.WithHost(host),
		client.WithHTTPClient(&http.Client{Transport: t, CheckRedirect: client.CheckRedirect}),
		client.WithHTTPHeaders(e.Headers),
		client.WithHTTPResponseHook(hideSocket),
	)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", e.Shown(), err)
	}
	return &Client{
		Client: c, base: base, headers: e.Headers,
		http:        &http.Client{Transport: t, CheckRedirect: client.CheckRedirect},
		negotiating: make(chan struct{}, 1),
	}, nil
}

// hideSocket replaces the host in the URL of an answer: docker's client has the path of a socket
// there, which errors show, as http://%2Frun%2Fdocker.sock/v1.44/info.
func hideSocket(resp *http.Response) {
	if resp.Request == nil || !strings.Contains(resp.Request.URL.Host, "/") {
		return
	}
	u := *resp.Request.URL
	u.Host = client.DummyHost
	resp.Request.URL = &u
}

// Get requests a resource by its path below the API's version. The caller closes the answer's body.
// The error is that of docker's client if the engine can't be reached, and a [*StatusError] if the
// status is not 200. The body ends with ctx.
func (c *Client) Get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	version, err := c.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	u := *c.base
	u.Path, u.RawQuery = u.Path+"/v"+version+path, query.Encode()
	resp, err := request(ctx, c.http, &u, c.headers)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, _ := readAnswer(resp)
		return nil, newStatusError(resp.StatusCode, body)
	}
	return resp, nil
}

// About is [Endpoint.Ping] over one of the client's connections. It ends with ctx.
func (c *Client) About(ctx context.Context) (Pong, error) {
	return about(ctx, c.http, c.base, c.headers)
}

// Info asks the engine for a description of itself. It may be called beside other requests before
// the API version is negotiated, unlike that of docker's client, which reads the version unlocked
// if its own negotiation has failed.
func (c *Client) Info(ctx context.Context, o client.InfoOptions) (client.SystemInfoResult, error) {
	if _, err := c.negotiate(ctx); err != nil {
		return client.SystemInfoResult{}, err
	}
	return c.Client.Info(ctx, o)
}

// negotiate returns the API version to use.
func (c *Client) negotiate(ctx context.Context) (string, error) {
	select {
	case c.negotiating <- struct{}{}:
		defer func() { <-c.negotiating }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if c.version == "" {
		if _, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
			return "", err
		}
		c.version = c.ClientVersion()
	}
	return c.version, nil
}

// baseURL returns the URL for requests, as docker's client computes it.
func baseURL(host string, secure bool) (*url.URL, error) {
	u, err := client.ParseHostURL(host)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if u.Scheme == "unix" || u.Scheme == "npipe" {
		u.Host = client.DummyHost
	}
	u.Scheme = "http"
	if secure {
		u.Scheme = "https"
	}
	return u, nil
}
