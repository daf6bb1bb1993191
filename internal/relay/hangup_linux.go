package relay

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitHangUp waits until the other side of a unix socket, which has closed it for writing, closes
// it completely, and returns true; false if conn is closed. Reading can't distinguish the two.
func awaitHangUp(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(pollHangUp) == nil // asks again after each event of the socket
}

// hungUp reports whether the other side of a unix socket has closed it completely.
func hungUp(conn net.Conn) (yes bool) {
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { yes = pollHangUp(fd) })
		}
	}
	return yes
}

func pollHangUp(fd uintptr) bool {
	for {
		// POLLHUP is always reported.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}
