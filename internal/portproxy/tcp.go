//go:build linux

package portproxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A dialFunc connects for a client.
type dialFunc func(client netip.AddrPort) (net.Conn, error)

// accept serves each connection until the listener is closed, and returns when all have ended.
func accept[C net.Conn](l net.Listener, serve func(C)) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors or memory: open connections go on.
			pause()
			continue
		}
		conns.Go(func() {
			defer conn.Close()
			serve(conn.(C))
		})
	}
}

// serveTCP joins each connection with one that dial makes.
func serveTCP(l net.Listener, dial dialFunc) {
	accept(l, func(client *net.TCPConn) { joinTCP(client, dial) })
}

// pause keeps a failing socket from using a whole processor.
func pause() { time.Sleep(10 * time.Millisecond) }

// joinTCP copies both ways until both have ended. It passes on half-closes, so that a client that
// has sent all can still read the answer. The caller closes the client.
func joinTCP(client *net.TCPConn, dial dialFunc) {
	conn, err := dial(client.RemoteAddr().(*net.TCPAddr).AddrPort())
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { pass(server, client) })
	pass(client, server)
	both.Wait()
}

func pass(to, from *net.TCPConn) {
	// Between two TCP connections this is splice(2): no byte comes into this process.
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
	_ = from.CloseRead()
}
