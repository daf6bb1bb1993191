package portproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process in a user namespace can't enter the host's network namespace. But a socket keeps the
// namespace in which it was made: so a broker on the host's side opens the listeners and hands
// them over.
//
// The request is one packet, "NETWORK ADDRESS" as for net.Listen. The answer is one packet: "0"
// with the listener, or the errno, a space, and the error's text.

// BrokerArg is the first argument of the broker. The second is the path of its socket, the third
// that of the socket for RootlessKit's API.
const BrokerArg = "__broker"

// BrokerPrefix before a path in [HostNetnsEnv] says that it is a broker's socket.
const BrokerPrefix = "broker:"

// The broker's files.
const (
	brokerReadyFD = 3 + iota // takes "1" when it listens
	brokerExitFD             // the broker ends when this does
)

// brokerProgram is the program of a broker.
func brokerProgram(socket, apiSocket string) error {
	ready, exit := os.NewFile(brokerReadyFD, "ready"), os.NewFile(brokerExitFD, "exit")
	b, err := newBroker(socket, apiSocket)
	if err != nil {
		return err
	}
	defer b.close()
	if _, err := ready.WriteString("1"); err != nil {
		return err
	}
	_ = ready.Close()
	_, _ = exit.Read(make([]byte, 1))
	return nil
}

type broker struct {
	listeners *net.UnixListener
	api       *net.UnixListener
}

func newBroker(socket, apiSocket string) (*broker, error) {
	_ = os.Remove(socket) // of one that was killed
	_ = os.Remove(apiSocket)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: socket})
	if err != nil {
		return nil, err
	}
	api, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: apiSocket})
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	b := &broker{l, api}
	go accept(b.listeners, lend)
	go accept(b.api, answerAPI)
	return b, nil
}

func (b *broker) close() {
	_ = b.listeners.Close()
	_ = b.api.Close()
}

// accept serves connections until the listener is closed.
func accept(l *net.UnixListener, serve func(*net.UnixConn)) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

const maxPacket = 1024

// lend answers one request.
func lend(c *net.UnixConn) {
	buf := make([]byte, maxPacket)
	n, err := c.Read(buf)
	if err != nil {
		return
	}
	network, address, _ := strings.Cut(string(buf[:n]), " ")
	file, err := open(network, address)
	if err != nil {
		var errno syscall.Errno
		_ = errors.As(err, &errno)
		text := err.Error()
		if errno == syscall.EACCES {
			text += " (only root may use this port: sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80 allows it from 80 on)"
		}
		_, _ = c.Write([]byte(strconv.Itoa(int(errno)) + " " + text))
		return
	}
	defer file.Close()
	_, _, _ = c.WriteMsgUnix([]byte("0"), unix.UnixRights(int(file.Fd())), nil)
}

// open opens a listener in the network namespace of the calling process.
func open(network, address string) (*os.File, error) {
	if strings.HasPrefix(network, "tcp") {
		var lc net.ListenConfig
		// Connections are spliced, which wants plain TCP on both sides.
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), network, address)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		return l.(*net.TCPListener).File()
	}
	addr, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.File()
}

// borrow asks the broker for the listener in the host's network namespace.
func borrow(socket, network, address string) (*os.File, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: socket})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Write([]byte(network + " " + address)); err != nil {
		return nil, err
	}
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return nil, err
	}
	if code, text, failed := strings.Cut(string(buf[:n]), " "); failed {
		errno, _ := strconv.Atoi(code)
		return nil, brokerError{text, syscall.Errno(errno)}
	}
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	if err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
			unix.CloseOnExec(fds[0])
			return os.NewFile(uintptr(fds[0]), "borrowed"), nil
		}
	}
	return nil, errors.New("the broker's answer has no listener")
}

// brokerError is why the broker could not open a listener.
type brokerError struct {
	text  string
	errno syscall.Errno
}

func (e brokerError) Error() string { return e.text }
func (e brokerError) Unwrap() error { return e.errno }

// rootlessKitInfo answers every request to RootlessKit's API. dockerd 28 and later ask for the port
// driver. Without one, dockerd starts the proxy for each port.
const rootlessKitInfo = `{"apiVersion":"1.1.1","version":"2.0.0","childPID":1,"networkDriver":{"driver":"slirp4netns"}}`

func answerAPI(c *net.UnixConn) {
	buf, n := make([]byte, 4096), 0
	for !strings.Contains(string(buf[:n]), "\r\n\r\n") && n < len(buf) {
		m, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += m
	}
	_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
		strconv.Itoa(len(rootlessKitInfo)) + "\r\n\r\n" + rootlessKitInfo))
}
