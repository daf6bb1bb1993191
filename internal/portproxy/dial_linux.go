package portproxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ClientAddrEnv names the environment variable with the address families ("4", "6" or "46") for
// which the engine's network namespace routes answers to foreign addresses to this process.
const ClientAddrEnv = "DOCKER_RD_CLIENT_ADDRESS"

const (
	// asClientTimeout is how long a container may take to answer a client's address. On a
	// bridge that takes a moment, or a second if the first packet is lost, as to a new IPv6
	// address. A container without a route back through the engine never answers.
	asClientTimeout = 3 * time.Second
	// asClientPause is how long a container that did not answer is dialed from the engine's address.
	asClientPause = 10 * time.Minute
	// dialTimeout is how long a container may take to answer the engine's own address.
	dialTimeout = 10 * time.Second
)

// A dialer connects to the container, if possible with the client's address as the source: so the
// container sees the real client.
type dialer struct {
	container netip.AddrPort
	families  string        // see ClientAddrEnv
	timeout   time.Duration // of a connection from the client's address
	plainTill atomic.Int64  // Unix time in nanoseconds
}

func newDialer(container netip.AddrPort, families string) *dialer {
	return &dialer{container: container, families: families, timeout: asClientTimeout}
}

// dial connects for a client. If the client's address can't be the source, it uses the engine's.
func (d *dialer) dial(network string, client netip.AddrPort) (net.Conn, error) {
	if !d.canBe(client.Addr()) {
		return d.plain(network)
	}
	addr := netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	conn, err := d.as(network, addr)
	if err == nil {
		return conn, nil
	}
	late := isTimeout(err)
	if !late {
		// The client may have a connection to another port of this container from the same port.
		if conn, err = d.as(network, netip.AddrPortFrom(addr.Addr(), 0)); err == nil {
			return conn, nil
		}
	}
	conn, err = d.plain(network)
	if late && err == nil {
		d.plainTill.Store(time.Now().Add(asClientPause).UnixNano())
	}
	return conn, err
}

// dialTCP is a dialFunc.
func (d *dialer) dialTCP(client netip.AddrPort) (net.Conn, error) { return d.dial("tcp", client) }

// canBe reports whether the client's address may be used as a source.
func (d *dialer) canBe(client netip.Addr) bool {
	client = client.Unmap()
	family := "6"
	if client.Is4() {
		family = "4"
	}
	return strings.Contains(d.families, family) && client.Is4() == d.container.Addr().Is4() &&
		!client.IsLoopback() && !client.IsLinkLocalUnicast() && time.Now().UnixNano() > d.plainTill.Load()
}

func (d *dialer) plain(network string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).Dial(network, d.container.String())
}

// as connects from a foreign address.
func (d *dialer) as(network string, client netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout}
	nd.ControlContext = func(_ context.Context, _, _ string, raw syscall.RawConn) error {
		var err error
		ctlErr := raw.Control(func(fd uintptr) { err = allowForeign(int(fd), client.Addr().Is4()) })
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}
	if network == "tcp" {
		nd.LocalAddr = net.TCPAddrFromAddrPort(client)
	} else {
		nd.LocalAddr = net.UDPAddrFromAddrPort(client)
	}
	return nd.Dial(network, d.container.String())
}

// allowForeign allows a socket to bind to a foreign address, also one of another connection.
func allowForeign(fd int, v4 bool) error {
	level, option := unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	if v4 {
		level, option = unix.SOL_IP, unix.IP_TRANSPARENT
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}
