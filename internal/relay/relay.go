// Package relay serves an engine that is elsewhere on a socket of this machine, for
// programs that can dial nothing but a socket.
//
// It passes on bytes and knows nothing of the API, so whatever works over a connection to
// the engine works through it: hijacked streams, half-closed ones, build sessions.
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
)

// grace is how long the engine may take to end what a client has turned its back on. What
// the client sent last is still on its way.
var grace = 5 * time.Second

const (
	// acceptDelay is how long to wait when the system has no descriptor left.
	acceptDelay = 100 * time.Millisecond
	// bufferSize is as much as a pipe to ssh holds.
	bufferSize = 64 << 10
)

// A Relay leads clients to an engine.
type Relay struct {
	// Dial connects to the engine. It ends with ctx, which may be before the connection
	// does.
	Dial func(ctx context.Context) (net.Conn, error)
	// Log gets what goes wrong; it must not be nil.
	Log *slog.Logger
}

// Serve accepts clients from l and leads each of them to the engine over a connection of
// its own, which is made when the client says something. A client that can't be led there
// is answered why, as the engine would answer it.
//
// When ctx ends, Serve closes l and all connections, and returns when that is done.
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
			select {
			case <-time.After(acceptDelay):
			case <-ctx.Done():
			}
		}
	}
}

// client serves one client until it or the engine is done.
func (r *Relay) client(ctx context.Context, client net.Conn) {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	// A connection to the engine may cost a login. Whoever only looks whether there is a
	// socket, or connects in advance, costs none.
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

// sendUp passes on what the client says, first of all first. It returns when the client has
// said all and does not listen any more either, or when one of the connections is closed.
func sendUp(engine, client net.Conn, first []byte) {
	_, err := engine.Write(first)
	if err == nil {
		_, err = io.CopyBuffer(engine, client, first[:cap(first)])
	}
	if err != nil && !hungUp(client) {
		return // it is the engine that does not listen, but it may still say why
	}
	closeWrite(engine)
	if err != nil || awaitHangUp(client) {
		_ = engine.SetReadDeadline(time.Now().Add(grace))
	}
}

// sendDown passes on what the engine says, until it has said all. The error is not nil
// where nothing that the client says can matter any more. If the engine says nothing at
// all, the client gets an answer of ours.
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

// refusal returns what tells a client why its request can't be passed on.
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

// closeWrite tells the other side that nothing more comes.
func closeWrite(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}
