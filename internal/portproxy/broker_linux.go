package portproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A socket keeps the network namespace in which it was made: so a broker on the host's side opens the
// listeners and hands them over. A process in a user namespace could not enter the host's.
//
// The request is one packet, "NETWORK ADDRESS" as for net.Listen. The answer is one packet: "0"
// with the listener, or the errno, a space, and the error's text.

// ListenBroker opens the socket of a broker, in place of one that another has left: where listeners
// are asked for. The caller passes it to a relay and closes it.
func ListenBroker(path string) (*os.File, error) { return listenUnix(lending, path) }

// ListenAPI is [ListenBroker] for the socket where RootlessKit's API is.
func ListenAPI(path string) (*os.File, error) { return listenUnix(api, path) }

// The networks of the sockets tell which is which.
const (
	lending = "unixpacket"
	api     = "unix"
)

func listenUnix(network, path string) (*os.File, error) {
	_ = os.Remove(path)
	l, err := net.ListenUnix(network, &net.UnixAddr{Net: network, Name: path})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	return l.File()
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
	file, err := Open(network, address)
	if err != nil {
		var errno syscall.Errno
		_ = errors.As(err, &errno)
		text := err.Error()
		if errno == syscall.EACCES {
			_, port, _ := net.SplitHostPort(address)
			text += " (only root may use this port: sudo sysctl -w net.ipv4.ip_unprivileged_port_start=" + port + " allows it, and those above)"
		}
		_, _ = c.Write([]byte(strconv.Itoa(int(errno)) + " " + text))
		return
	}
	defer file.Close()
	_, _, _ = c.WriteMsgUnix([]byte("0"), unix.UnixRights(int(file.Fd())), nil)
}

// Open opens a listener for tcp, or a socket for udp, in the network namespace of the calling process,
// with the network and address of [net.Listen]. The caller closes it.
func Open(network, address string) (*os.File, error) {
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
	c, err := net.DialUnix(lending, nil, &net.UnixAddr{Net: lending, Name: socket})
	if err != nil {
		return nil, fmt.Errorf("the engine's relay, which opens published ports, does not run: %w", err)
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
