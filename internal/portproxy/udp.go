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
	// sessionTimeout is how long a client that sends nothing and gets nothing is
	// remembered; docker-proxy's value.
	sessionTimeout = 90 * time.Second

	maxDatagram = 65507
)

// udpServer passes datagrams on. UDP knows no connections, so a client's address
// stands for one: its datagrams go to the container through a socket of its own,
// and what comes back on that goes to the client.
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

// udpSocket is where clients' datagrams arrive: a *net.UDPConn.
type udpSocket interface {
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
}

// udpKey names a session: a reply must come from the address the client sent to.
type udpKey struct {
	client netip.AddrPort
	local  localAddr
}

type udpSession struct {
	conn     net.Conn
	lastUsed atomic.Int64 // nanoseconds since the server began, which setting the clock does not change
}

func (s *udpServer) use(session *udpSession) { session.lastUsed.Store(int64(time.Since(s.began))) }

func (s *udpServer) idle(session *udpSession) time.Duration {
	return time.Since(s.began) - time.Duration(session.lastUsed.Load())
}

func newUDPServer(conn udpSocket, d *dialer, timeout time.Duration) *udpServer {
	return &udpServer{conn: conn, dialer: d, timeout: timeout, began: time.Now(), pause: pause, sessions: map[udpKey]*udpSession{}}
}

// serve passes datagrams on until its socket is closed, and then ends all sessions.
func (s *udpServer) serve() error {
	defer s.closeSessions()
	buf, oob := make([]byte, maxDatagram), make([]byte, oobSize)
	for {
		n, oobn, _, client, err := s.conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			s.pause()
			continue
		}
		s.forward(udpKey{client, parseLocalAddr(oob[:oobn])}, buf[:n])
	}
}

// forward sends a datagram to the container. Like any network it may lose some.
func (s *udpServer) forward(key udpKey, datagram []byte) {
	// Twice: the first write may fail for a session that is just timing out, or
	// report that the container refused an earlier datagram.
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

// reply sends what comes from the container to the client until the session has not
// been used for the timeout.
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
