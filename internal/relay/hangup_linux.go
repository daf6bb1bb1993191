package relay

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitHangUp returns true when the other side of a unix socket has closed it altogether,
// after it had closed it for writing, and false when conn is closed. Reading does not tell
// the one from the other.
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

// hungUp reports whether the other side of a unix socket has closed it altogether.
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
		// It need not be asked for POLLHUP.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0 || err != nil
		}
	}
}
