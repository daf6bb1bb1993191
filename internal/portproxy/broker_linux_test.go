package portproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startBroker serves until the test ends, in the network namespace at that path, and returns the
// paths of its sockets.
func startBroker(t *testing.T, netns string) (socket, apiSocket string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rd")
	if err != nil {
		t.Fatal(err)
	}
	socket, apiSocket = filepath.Join(dir, "b"), filepath.Join(dir, "api")
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	lendFile, err := ListenBroker(socket)
	if err != nil {
		t.Fatal(err)
	}
	apiFile, err := ListenAPI(apiSocket)
	if err != nil {
		t.Fatal(err)
	}
	lendThere := func(c *net.UnixConn) {
		if err := inNetns(netns, func() error { lend(c); return nil }); err != nil {
			t.Error(err)
		}
	}
	for file, serve := range map[*os.File]func(*net.UnixConn){lendFile: lendThere, apiFile: answerAPI} {
		l, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		var serving sync.WaitGroup
		serving.Go(func() { accept(l, serve) })
		t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	}
	return socket, apiSocket
}

// ownNetns is the network namespace of the process.
const ownNetns = "/proc/self/ns/net"

// proxyBy serves a port through the broker until the test ends.
func proxyBy(t *testing.T, socket string, cfg config) (*proxy, error) {
	t.Helper()
	p := &proxy{cfg: cfg}
	if err := p.listen(borrow(socket, cfg.network(), cfg.Host.String())); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { defer close(done); p.Run() }()
	t.Cleanup(func() { p.Close(); <-done })
	return p, nil
}

func TestBroker(t *testing.T) {
	socket, _ := startBroker(t, ownNetns)
	back := listenTCP(t)
	go func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	container := netip.MustParseAddrPort(back.Addr().String())
	p, err := proxyBy(t, socket, config{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: container})
	if err != nil {
		t.Fatal(err)
	}
	addr := p.listeners[0].Addr()
	if data, err := io.ReadAll(dialTCP(t, addr)); err != nil || string(data) != "hello" {
		t.Errorf("through a listener of the broker: %q, %v", data, err)
	}

	// The words are those of a listener that was opened here.
	taken := config{Proto: "tcp", Host: netip.MustParseAddrPort(addr.String()), Container: container}
	_, here := net.Listen("tcp4", addr.String())
	if _, err = proxyBy(t, socket, taken); !errors.Is(err, unix.EADDRINUSE) || err.Error() != here.Error() {
		t.Errorf("a port that is taken: %v, want %v", err, here)
	}
	taken.Host = netip.MustParseAddrPort("192.0.2.1:80")
	if _, err = proxyBy(t, socket, taken); !absent(err) {
		t.Errorf("an address that is not the host's: %v", err)
	}
	if _, err := borrow(socket, "nonsense", "x"); err == nil {
		t.Error("nonsense is answered")
	}
	if _, err := borrow(socket+"-not", "tcp4", "127.0.0.1:0"); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "relay") {
		t.Errorf("without a broker: %v", err)
	}
}

func TestBrokerUDP(t *testing.T) {
	socket, _ := startBroker(t, ownNetns)
	back, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := back.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = back.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	p, err := proxyBy(t, socket, config{Proto: "udp", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: netip.MustParseAddrPort(back.LocalAddr().String())})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", p.conns[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "echo"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "echo" {
		t.Errorf("through a socket of the broker: %q, %v", buf[:n], err)
	}
}

// dockerd asks with RootlessKit's client, which is HTTP.
func TestBrokerAPI(t *testing.T) {
	_, api := startBroker(t, ownNetns)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", api)
	}}}
	resp, err := client.Get("http://rootlesskit/v1/info")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != rootlessKitInfo {
		t.Errorf("%v: %s", fmt.Sprint(resp.Status, err), body)
	}
}
