package namespaces

import (
	"context"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Sockets belong to the network namespace that they were made in: the helper makes them in
// the engine's, and passes them on to processes in the host's.

// openDNS opens the sockets of the engine's name server: one for udp, one for tcp.
func openDNS(addr netip.Addr) ([]*os.File, error) {
	if err := addToLoopback(addr); err != nil {
		return nil, err
	}
	at := netip.AddrPortFrom(addr, 53)
	udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	defer udp.Close()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	tcp, err := lc.Listen(context.Background(), "tcp4", at.String())
	if err != nil {
		return nil, err
	}
	defer tcp.Close()
	udpFile, err := udp.File()
	if err != nil {
		return nil, err
	}
	tcpFile, err := tcp.(*net.TCPListener).File()
	if err != nil {
		_ = udpFile.Close()
		return nil, err
	}
	return []*os.File{udpFile, tcpFile}, nil
}

// socketMark stands before what is said about files that are passed on with it.
const socketMark = 0

// sendFiles passes files on through the unix socket fd.
func sendFiles(fd int, files []*os.File) error {
	numbers := make([]int, len(files))
	for i, f := range files {
		numbers[i] = int(f.Fd())
	}
	return os.NewSyscallError("sendmsg", unix.Sendmsg(fd, []byte{socketMark}, unix.UnixRights(numbers...), nil, 0))
}

// receive reads from the unix socket until its other end is closed. It returns what was
// said and the files that were passed on, which are the caller's.
func receive(fd int) (said []byte, files []*os.File, err error) {
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(8*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			closeAll(files)
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
		if n == 1 && buf[0] == socketMark {
			continue
		}
		said = append(said, buf[:n]...)
	}
}
