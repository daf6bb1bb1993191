package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// A Pong is an engine's answer to [Endpoint.Ping].
type Pong struct {
	APIVersion    string // never empty
	ServerVersion string // "" if the engine did not tell
}

// A StatusError says that something answered with another HTTP status than 200. With
// 404 it is an error of containerd/errdefs's kind NotFound.
type StatusError struct {
	Status  int
	Message string // the first line of its answer, shortened
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("HTTP status %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is tells errdefs what kind of error it is.
func (e *StatusError) Is(target error) bool {
	return target == errdefs.ErrNotFound && e.Status == http.StatusNotFound
}

// newStatusError takes the first line of the message.
func newStatusError(status int, message string) *StatusError {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	const enough = 200
	return &StatusError{status, line[:min(len(line), enough)]}
}

// ErrNotDocker says that what answered is no Docker engine: it has no API version.
var ErrNotDocker = errors.New("the answer is not a Docker engine's")

// pingGrace is how long after its context Ping waits for what it has just closed.
const pingGrace = 60 * time.Millisecond

// Ping asks the engine for its API version, over a connection of its own. It returns
// at the latest 100 ms after the end of ctx, with ctx's error, and leaves neither a
// connection nor a process behind. Other errors wrap what made the attempt fail:
// a [*StatusError], [ErrNotDocker], a [*SSHError], or the system's own error.
func (e Endpoint) Ping(ctx context.Context) (Pong, error) {
	t, host, err := e.transport()
	if err != nil {
		return Pong{}, err
	}
	base, err := baseURL(host, t.TLSClientConfig != nil)
	if err != nil {
		return Pong{}, err
	}
	var conns tracker
	dial := t.DialContext
	// net/http detaches its dials from the request; these shall end with it.
	t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conns.add(conn)
	}
	type result struct {
		pong Pong
		err  error
	}
	done := make(chan result, 1)
	go func() {
		pong, err := e.ping(ctx, &http.Client{Transport: t, CheckRedirect: noRedirect}, base.String())
		done <- result{pong, err}
	}()
	var r result
	select {
	case r = <-done:
		conns.close()
	case <-ctx.Done():
		conns.close()
		r.err = ctx.Err()
		// The answer may have come in the same instant.
		select {
		case late := <-done:
			if late.err == nil {
				r = late
			}
		case <-time.After(pingGrace): // a system call that can't be interrupted
		}
	}
	if r.err != nil && ctx.Err() != nil {
		return Pong{}, ctx.Err() // not what closing its connections looked like
	}
	return r.pong, r.err
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (e Endpoint) ping(ctx context.Context, c *http.Client, base string) (Pong, error) {
	resp, body, err := e.get(ctx, c, base+"/_ping")
	if err != nil {
		return Pong{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return Pong{}, newStatusError(resp.StatusCode, string(body))
	}
	pong := Pong{APIVersion: resp.Header.Get("Api-Version")}
	if !isAPIVersion(pong.APIVersion) {
		return Pong{}, ErrNotDocker
	}
	// dockerd and podman tell their version in passing: "Docker/28.2.2 (linux)".
	product, _, _ := strings.Cut(resp.Header.Get("Server"), " ")
	if _, pong.ServerVersion, _ = strings.Cut(product, "/"); pong.ServerVersion != "" {
		return pong, nil
	}
	if resp, body, err := e.get(ctx, c, base+"/version"); err == nil && resp.StatusCode == http.StatusOK {
		var v struct{ Version string }
		_ = json.Unmarshal(body, &v)
		pong.ServerVersion = v.Version
	}
	return pong, nil
}

// isAPIVersion tells whether v is like "1.41".
func isAPIVersion(v string) bool {
	major, minor, ok := strings.Cut(v, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return ok && digits(major) && digits(minor)
}

func (e Endpoint) get(ctx context.Context, c *http.Client, url string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	for k, v := range e.Headers {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	const limit = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, nil, err
	}
	return resp, body, nil
}

// A tracker can close all connections that were made.
type tracker struct {
	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

func (t *tracker) add(c net.Conn) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t.conns = append(t.conns, c)
	return c, nil
}

func (t *tracker) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.conns {
		_ = c.Close()
	}
}
