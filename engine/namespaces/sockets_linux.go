package namespaces

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// Sockets belong to the network namespace in which they were made: the helper makes them in the
// engine's, and passes them on to processes in the host's.

// openSockets adds r.Local to this network namespace. Through the unix socket fd it passes on the
// sockets of the name server, udp and tcp, at the port names, and tcp listeners for ports of the host's
// loopback.
func (r *Rules) openSockets(fd int, names uint16) error {
	if err := addToLoopback(r.Local); err != nil {
		return err
	}
	for _, network := range []string{"udp4", "tcp4"} {
		if err := sendSocket(fd, network, netip.AddrPortFrom(r.Local, names)); err != nil {
			return fmt.Errorf("name server: %w", err)
		}
	}
	for _, port := range r.Localhost {
		// Loopback is for the engine, the other address for containers.
		for _, own := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(), r.Local} {
			err := sendSocket(fd, "tcp", netip.AddrPortFrom(own, port))
			if err != nil && !(own.Is6() && errors.Is(err, unix.EADDRNOTAVAIL)) && !errors.Is(err, unix.EAFNOSUPPORT) {
				return fmt.Errorf("port %d of the host's localhost: %w", port, err)
			}
		}
	}
	return nil
}

// socketMark is the byte that is sent with each file.
const socketMark = 0

// sendSocket opens a socket and passes it on through the unix socket fd.
func sendSocket(fd int, network string, at netip.AddrPort) error {
	file, err := portproxy.Open(network, at.String())
	if err != nil {
		return err
	}
	defer file.Close()
	return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte{socketMark}, unix.UnixRights(int(file.Fd())), nil, 0))
}

// receive reads from the unix socket until its other end is closed. It returns the text and
// the files that were passed on; the caller closes them.
func receive(fd int) (said []byte, files []*os.File, err error) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(8*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			CloseAll(files)
			return nil, nil, os.NewSyscallError("recvmsg", err)
		}
		if n == 0 {
			return said, files, nil
		}
		messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for _, m := range messages {
			numbers, _ := unix.ParseUnixRights(&m)
			for _, number := range numbers {
				files = append(files, os.NewFile(uintptr(number), "socket"))
			}
		}
		said = append(said, bytes.TrimLeft(buf[:n], string(rune(socketMark)))...)
	}
}
