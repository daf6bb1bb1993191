package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// A Pong is an engine's answer to [Endpoint.Ping].
type Pong struct {
	APIVersion    string // never empty
	ServerVersion string // "" if the engine did not tell
	Podman        bool   // it is podman, which has a Docker API
}

// A StatusError is an answer with another HTTP status than 200. 404 is containerd/errdefs's
// NotFound.
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

// Is matches the errors of errdefs.
func (e *StatusError) Is(target error) bool {
	return target == errdefs.ErrNotFound && e.Status == http.StatusNotFound
}

// newStatusError takes the first line of the engine's message in a body, or of a text. A page of a
// web server says nothing in one line.
func newStatusError(status int, body []byte) *StatusError {
	var answer struct{ Message string }
	if json.Unmarshal(body, &answer) != nil || answer.Message == "" {
		answer.Message = string(body)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(answer.Message), "\n")
	if strings.HasPrefix(line, "<") {
		line = ""
	}
	const enough = 200
	return &StatusError{status, strings.ToValidUTF8(line[:min(len(line), enough)], "")}
}

// ErrNotDocker says that no Docker engine has answered: there is no API version.
var ErrNotDocker = errors.New("the answer is not a Docker engine's")

// pingGrace is how long after its context Ping waits for the end of connections.
const pingGrace = 60 * time.Millisecond

// Ping requests the engine's API version over a connection of its own. It returns at most 100 ms
// after the end of ctx, with ctx's error, and leaves neither a connection nor a process behind.
// Other errors wrap a [*StatusError], [ErrNotDocker], a [*SSHError], or the system's error.
func (e Endpoint) Ping(ctx context.Context) (Pong, error) {
	t, host, err := e.transport()
	if err != nil {
		return Pong{}, err
	}
	base, err := baseURL(host, t.TLSClientConfig != nil)
	if err != nil {
		return Pong{}, err
	}
	var open sync.RWMutex // each connection holds it, from its dial to its end
	call, end := context.WithCancel(ctx)
	dial := t.DialContext
	// net/http detaches dials and connections from the request; these must end with it.
	t.DialContext = func(_ context.Context, network, address string) (net.Conn, error) {
		open.RLock()
		conn, err := dial(call, network, address)
		if err != nil {
			open.RUnlock()
			return nil, err
		}
		context.AfterFunc(call, func() {
			_ = conn.Close()
			open.RUnlock()
		})
		return conn, nil
	}
	pong, err := about(call, &http.Client{Transport: t, CheckRedirect: noRedirect}, base, e.Headers)
	end()
	ended := make(chan struct{})
	go func() {
		open.Lock()
		defer open.Unlock() // a dial that comes late must end, too
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(pingGrace): // a system call can't be interrupted, such as the one that starts ssh
	}
	if err != nil && ctx.Err() != nil {
		return Pong{}, ctx.Err() // not what closing its connections looked like
	}
	return pong, err
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func about(ctx context.Context, c *http.Client, base *url.URL, headers map[string]string) (Pong, error) {
	resp, body, err := get(ctx, c, base.JoinPath("_ping"), headers)
	if err != nil {
		return Pong{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return Pong{}, newStatusError(resp.StatusCode, body)
	}
	pong := Pong{
		APIVersion: resp.Header.Get("Api-Version"),
		// https://docs.podman.io/en/latest/_static/api.html, SystemPing.
		Podman: resp.Header.Get("Libpod-Api-Version") != "",
	}
	if !isAPIVersion(pong.APIVersion) {
		return Pong{}, ErrNotDocker
	}
	// dockerd and podman send their version: "Docker/28.2.2 (linux)".
	server, _, _ := strings.Cut(resp.Header.Get("Server"), " ")
	product, version, _ := strings.Cut(server, "/")
	if (product == "Docker" || product == "Libpod") && version != "" {
		pong.ServerVersion = version
		return pong, nil
	}
	if resp, body, err := get(ctx, c, base.JoinPath("version"), headers); err == nil && resp.StatusCode == http.StatusOK {
		var v struct{ Version string }
		_ = json.Unmarshal(body, &v)
		pong.ServerVersion = v.Version
	}
	return pong, nil
}

// isAPIVersion reports whether v is like "1.41".
func isAPIVersion(v string) bool {
	major, minor, ok := strings.Cut(v, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return ok && digits(major) && digits(minor)
}

// request requests a URL, which is not in the error. The caller closes the answer's body.
func request(ctx context.Context, c *http.Client, to *url.URL, headers map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := c.Do(req)
	return resp, WithoutURL(err)
}

// WithoutURL returns an error of net/url or net/http without the URL. Nil stays nil.
func WithoutURL(err error) error {
	if where, ok := errors.AsType[*url.Error](err); ok {
		return where.Err
	}
	return err
}

func get(ctx context.Context, c *http.Client, to *url.URL, headers map[string]string) (*http.Response, []byte, error) {
	resp, err := request(ctx, c, to, headers)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := readAnswer(resp)
	return resp, body, err
}

// readAnswer returns the body of a short answer, or the beginning of one.
func readAnswer(resp *http.Response) ([]byte, error) {
	const limit = 64 << 10
	return io.ReadAll(io.LimitReader(resp.Body, limit))
}
