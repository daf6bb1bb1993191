// Package relay serves a remote engine on a local socket, for programs that can only dial a
// socket.
//
// It copies bytes and knows nothing of the API. So everything that works over a connection to the
// engine works through it: hijacked streams, half-closed ones, build sessions.
package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/internal/pause"
)

// grace is how long a connection to the engine may outlive its client. The client's last bytes are
// still on their way.
var grace = 5 * time.Second

const (
	// acceptDelay is how long to wait when the system is out of descriptors.
	acceptDelay = 100 * time.Millisecond
	// bufferSize is the capacity of a pipe to ssh.
	bufferSize = 64 << 10
)

// A Relay connects clients with an engine.
type Relay struct {
	// Dial connects to the engine. The connection may outlive ctx.
	Dial func(ctx context.Context) (net.Conn, error)
	// Log must not be nil.
	Log *slog.Logger
}

// Serve accepts clients from l and connects each with the engine, as soon as the client sends
// something. If that fails, the client gets an error in the form of the engine's own.
//
// When ctx ends, Serve closes l and all connections, and returns when they have ended.
func (r *Relay) Serve(ctx context.Context, l net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer l.Close()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			clients.Go(func() { r.client(ctx, conn) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			r.Log.Warn("no connection accepted", "error", err)
			_ = pause.For(ctx, acceptDelay)
		}
	}
}

// client serves one client until the client or the engine has ended.
func (r *Relay) client(ctx context.Context, client net.Conn) {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	// A connection to the engine may cost a login. Clients that only check the socket, or
	// connect in advance, cost none.
	first := make([]byte, bufferSize)
	n, err := client.Read(first)
	if err != nil {
		return
	}
	first = first[:n]
	answer := r.refusal(client, first)
	engine, err := r.Dial(ctx)
	if err != nil {
		answer(err)
		return
	}
	defer engine.Close()
	defer context.AfterFunc(ctx, func() { _ = engine.Close() })()

	up := make(chan struct{})
	go func() {
		defer close(up)
		sendUp(engine, client, first)
	}()
	if err := sendDown(client, engine, answer); err != nil {
		_ = client.Close() // which ends sendUp
	}
	<-up
}

// sendUp copies from the client, beginning with first. It returns when the client has closed its
// connection in both directions, or when one of the connections is closed.
func sendUp(engine, client net.Conn, first []byte) {
	_, err := engine.Write(first)
	if err == nil {
		_, err = io.CopyBuffer(engine, client, first[:cap(first)])
	}
	if err != nil && !hungUp(client) {
		return // the engine does not read, but may still answer
	}
	closeWrite(engine)
	if err != nil || awaitHangUp(client) {
		_ = engine.SetReadDeadline(time.Now().Add(grace))
	}
}

// sendDown copies from the engine to its end. An error means that the client need not send any
// more. If the engine sends nothing at all, answer tells the client why.
func sendDown(client, engine net.Conn, answer func(error)) error {
	buf := make([]byte, bufferSize)
	n, err := engine.Read(buf)
	if n == 0 && err != nil && !errors.Is(err, io.EOF) {
		answer(err)
		return err
	}
	if n > 0 {
		if _, err := client.Write(buf[:n]); err != nil {
			return err
		}
	}
	if err == nil {
		_, err = io.CopyBuffer(client, engine, buf)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	closeWrite(client)
	return nil
}

// refusal returns a function that tells a client why its request can't be relayed.
func (r *Relay) refusal(client net.Conn, request []byte) func(why error) {
	head := bytes.HasPrefix(request, []byte(http.MethodHead+" "))
	return func(why error) {
		if errors.Is(why, net.ErrClosed) || errors.Is(why, context.Canceled) {
			return // by us
		}
		r.Log.Warn("engine not reached for a client", "error", why)
		body, err := json.Marshal(map[string]string{"message": fmt.Sprintf("no connection to the engine: %v", why)})
		if err != nil || head {
			body = nil
		}
		const status = http.StatusBadGateway
		_, _ = fmt.Fprintf(client, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			status, http.StatusText(status), len(body), body)
	}
}

// closeWrite closes a connection for writing, if it can.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
