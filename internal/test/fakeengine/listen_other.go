//go:build !windows

package fakeengine

import (
	"context"
	"net"
)

func listen(path string) (net.Listener, error) { return net.Listen("unix", path) }

// Dial connects to the engine that was started on path, or to any other on a unix socket.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}
