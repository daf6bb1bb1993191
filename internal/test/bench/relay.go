//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
)

// relayed is how many bytes are sent through, each way.
const relayed = 256 << 20

// relay compares an instance's local socket, which leads to an engine behind TLS or ssh,
// with dialling that engine directly.
func (b *bench) relay(ctx context.Context) (err error) {
	tb := &helper{}
	defer tb.end(&err)
	h, err := b.newHome("r")
	if err != nil {
		return err
	}
	handler, err := b.relayedEngine(tb)
	if err != nil {
		return err
	}
	// TLS, with certificates on both sides.
	authority := endpointtest.NewAuthority(tb)
	client := authority.Issue(tb, time.Now().Add(time.Hour))
	l := authority.Listen(tb)
	endpointtest.Serve(tb, l, handler)
	certs := map[string][]byte{"tlscacert": authority.PEM, "tlscert": client.Cert, "tlskey": client.Key}
	args := []string{"--host", "tcp://" + l.Addr().String()}
	for flag, data := range certs {
		path := filepath.Join(h.dir, flag)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		args = append(args, "--"+flag, path)
	}
	ep := endpoint.Endpoint{Host: "tcp://" + l.Addr().String(), TLS: &endpoint.TLS{CA: authority.PEM, Cert: client.Cert, Key: client.Key}}
	if err := b.compareRelay(ctx, h, "TLS", ep, args, 4*b.rounds); err != nil {
		return err
	}
	// ssh, with dial-stdio on the other side.
	socket := endpointtest.Unix(tb, handler)
	sshd := endpointtest.NewSSHD(tb, socket, "")
	path := os.Getenv("PATH")
	defer os.Setenv("PATH", path)
	if err := os.Setenv("PATH", sshd.Bin+string(os.PathListSeparator)+path); err != nil {
		return err
	}
	return b.compareRelay(ctx, h, "ssh", endpoint.Endpoint{Host: sshd.URL}, []string{"--host", sshd.URL}, b.rounds)
}

// relayedEngine is a fake engine that also sends and takes many bytes.
func (b *bench) relayedEngine(tb testing.TB) (http.Handler, error) {
	socket := filepath.Join(b.dir, "relayed.sock")
	engine, err := fakeengine.Start(socket)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = engine.Close() })
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DialContext: unixDialer(socket)}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET /bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.PathValue("n"), 10, 64)
		_, _ = io.CopyN(w, zeros{}, n)
	})
	mux.HandleFunc("POST /bytes", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	return mux, nil
}

// compareRelay starts an instance with the arguments for start, which lead to ep, and
// measures both.
func (b *bench) compareRelay(ctx context.Context, h *home, name string, ep endpoint.Endpoint, args []string, rounds int) (err error) {
	defer func() {
		_, stopErr := h.rd(context.WithoutCancel(ctx), "rm", "--force", "default")
		err = errors.Join(err, stopErr)
	}()
	if _, err := h.rd(ctx, append([]string{"start", "--promote", "never"}, args...)...); err != nil {
		return err
	}
	socket, err := h.output(ctx, h.bin, "paths", "socket")
	if err != nil {
		return err
	}
	direct := func(ctx context.Context, _, _ string) (net.Conn, error) { return ep.Dial(ctx) }
	through := unixDialer(socket)
	for _, c := range []struct {
		what   string
		keep   bool
		target float64
		rounds int
		do     func(context.Context, *http.Client) error
	}{
		// TLS comes in records of 16 KiB, and each is passed on by itself.
		{fmt.Sprintf("%d MiB from the engine", relayed>>20), false, 3, b.rounds, download},
		{fmt.Sprintf("%d MiB to the engine", relayed>>20), false, 1.5, b.rounds, upload},
		{"a request, new connection", false, 1.5, rounds, request},
		{"a request, kept connection", true, 2, 20 * rounds, request},
	} {
		measure := func(dial dialContext) func() (time.Duration, error) {
			t := &http.Transport{DialContext: dial, DisableKeepAlives: !c.keep, DisableCompression: true}
			client := &http.Client{Transport: t}
			return func() (time.Duration, error) {
				began := time.Now()
				err := c.do(ctx, client)
				return time.Since(began), err
			}
		}
		times, err := inTurns(c.rounds, measure(through), measure(direct))
		if err != nil {
			return fmt.Errorf("%s, %s: %w", name, c.what, err)
		}
		b.table.ratio("local socket to "+name+", "+c.what+" / directly", times[0], times[1], c.target)
	}
	return nil
}

type dialContext = func(ctx context.Context, network, address string) (net.Conn, error)

func unixDialer(path string) dialContext {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
}

func request(ctx context.Context, c *http.Client) error {
	return fetch(ctx, c, "GET", "/_ping", nil, -1)
}

func download(ctx context.Context, c *http.Client) error {
	return fetch(ctx, c, "GET", fmt.Sprintf("/bytes/%d", relayed), nil, relayed)
}

func upload(ctx context.Context, c *http.Client) error {
	return fetch(ctx, c, "POST", "/bytes", io.LimitReader(zeros{}, relayed), 0)
}

// fetch makes a request and reads the answer, which has so many bytes, if that is known.
func fetch(ctx context.Context, c *http.Client, method, path string, body io.Reader, want int64) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// As io.Copy reads into a file; into nothing it takes smaller bites.
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 32<<10))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	case want >= 0 && n != want:
		return fmt.Errorf("%d bytes came, not %d", n, want)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
