package fakeengine

import (
	"context"
	"net"
	"sync"
)

// Not every Windows has unix sockets: wine has none. So each path stands for a TCP port,
// always the same.

var (
	portsMu sync.Mutex
	ports   = map[string]string{}
)

func listen(path string) (net.Listener, error) {
	portsMu.Lock()
	defer portsMu.Unlock()
	address := ports[path]
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		ports[path] = l.Addr().String()
	}
	return l, err
}

// Dial connects to the engine that was started on path.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	portsMu.Lock()
	address := ports[path]
	portsMu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}
