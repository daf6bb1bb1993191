//go:build linux

package portproxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// sessionTimeout ends idle sessions, as in docker-proxy.
	sessionTimeout = 90 * time.Second

	maxDatagram = 65507
)

// udpServer forwards datagrams. Each client's address has a session: a socket to the container,
// whose replies go to the client.
type udpServer struct {
	conn    udpSocket
	dialer  *dialer
	timeout time.Duration
	began   time.Time
	pause   func() // after a read that fails

	mu       sync.Mutex
	sessions map[udpKey]*udpSession
	replies  sync.WaitGroup
}

// udpSocket is the part of *net.UDPConn that receives clients' datagrams.
type udpSocket interface {
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
}

// udpKey identifies a session: a reply must come from the address to which the client has sent.
type udpKey struct {
	client netip.AddrPort
	local  localAddr
}

type udpSession struct {
	conn     net.Conn
	lastUsed atomic.Int64 // in monotonic nanoseconds since the server began
}

func (s *udpServer) use(session *udpSession) { session.lastUsed.Store(int64(time.Since(s.began))) }

func (s *udpServer) idle(session *udpSession) time.Duration {
	return time.Since(s.began) - time.Duration(session.lastUsed.Load())
}

func newUDPServer(conn udpSocket, d *dialer, timeout time.Duration) *udpServer {
	return &udpServer{conn: conn, dialer: d, timeout: timeout, began: time.Now(), pause: pause, sessions: map[udpKey]*udpSession{}}
}

// serve forwards datagrams until its socket is closed, and then ends all sessions.
func (s *udpServer) serve() {
	defer s.closeSessions()
	buf, oob := make([]byte, maxDatagram), make([]byte, oobSize)
	for {
		n, oobn, _, client, err := s.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.pause()
			continue
		}
		s.forward(udpKey{client, parseLocalAddr(oob[:oobn])}, buf[:n])
	}
}

// forward sends a datagram to the container, or loses it.
func (s *udpServer) forward(key udpKey, datagram []byte) {
	// The first write may fail because the session has just timed out, or report that the
	// container has refused an earlier datagram.
	for range 2 {
		session, err := s.session(key)
		if err != nil {
			return
		}
		s.use(session)
		if _, err := session.conn.Write(datagram); err == nil {
			return
		}
	}
}

func (s *udpServer) session(key udpKey) (*udpSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session, ok := s.sessions[key]; ok {
		return session, nil
	}
	conn, err := s.dialer.dial("udp", key.client)
	if err != nil {
		return nil, err
	}
	session := &udpSession{conn: conn}
	s.use(session)
	s.sessions[key] = session
	s.replies.Go(func() { s.reply(key, session) })
	return session, nil
}

// reply forwards the container's datagrams to the client until the session is idle.
func (s *udpServer) reply(key udpKey, session *udpSession) {
	defer func() {
		s.mu.Lock()
		delete(s.sessions, key)
		s.mu.Unlock()
		_ = session.conn.Close()
	}()
	buf, oob := make([]byte, maxDatagram), key.local.oob()
	for {
		_ = session.conn.SetReadDeadline(time.Now().Add(s.timeout - s.idle(session)))
		n, err := session.conn.Read(buf)
		switch {
		case err == nil:
			s.use(session)
			_, _, _ = s.conn.WriteMsgUDPAddrPort(buf[:n], oob, key.client)
		case errors.Is(err, os.ErrDeadlineExceeded):
			if s.idle(session) >= s.timeout {
				return
			}
		case errors.Is(err, syscall.ECONNREFUSED):
			// Nothing listens in the container, yet.
		default:
			return
		}
	}
}

func (s *udpServer) closeSessions() {
	s.mu.Lock()
	for _, session := range s.sessions {
		_ = session.conn.Close()
	}
	s.mu.Unlock()
	s.replies.Wait()
}
