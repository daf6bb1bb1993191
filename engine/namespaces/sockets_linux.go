package namespaces

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/dnsrelay"
)

// Sockets belong to the network namespace in which they were made: the helper makes them in the
// engine's, and passes them on to processes in the host's.

// openSockets adds addr to this network namespace. Through the unix socket fd it passes on the
// sockets of the name server, udp and tcp, and tcp listeners for ports of the host's loopback.
func openSockets(fd int, addr netip.Addr, localhost []uint16) error {
	if err := addToLoopback(addr); err != nil {
		return err
	}
	at := netip.AddrPortFrom(addr, dnsrelay.Port)
	udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	defer udp.Close()
	file, err := udp.File()
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	defer file.Close()
	if err := sendFile(fd, file); err != nil {
		return err
	}
	if err := sendListener(fd, at); err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	for _, port := range localhost {
		// Loopback is for the engine, the other address for containers.
		for _, own := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(), addr} {
			err := sendListener(fd, netip.AddrPortFrom(own, port))
			if err != nil && !(own.Is6() && errors.Is(err, unix.EADDRNOTAVAIL)) && !errors.Is(err, unix.EAFNOSUPPORT) {
				return fmt.Errorf("port %d of the host's localhost: %w", port, err)
			}
		}
	}
	return nil
}

func sendListener(fd int, at netip.AddrPort) error {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", at.String())
	if err != nil {
		return err
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer file.Close()
	return sendFile(fd, file)
}

// socketMark is the byte that is sent with each file.
const socketMark = 0

// sendFile passes a file on through the unix socket fd.
func sendFile(fd int, file *os.File) error {
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
