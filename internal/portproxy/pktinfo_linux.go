package portproxy

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// localAddr is the local address to which a datagram was sent; the interface is for link-local
// addresses only. The zero value leaves the choice to the kernel.
type localAddr struct {
	addr    netip.Addr
	ifindex uint32
}

// oobSize is enough for one IP_PKTINFO or IPV6_PKTINFO message.
const oobSize = 64

// askLocalAddr makes the kernel report the local address of each datagram (ip(7), ipv6(7)).
// Without it a reply from a socket that is bound to all addresses could come from the wrong one.
func askLocalAddr(conn *net.UDPConn, v6 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	var setErr error
	err = raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err != nil {
		return err
	}
	return setErr
}

func parseLocalAddr(oob []byte) localAddr {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return localAddr{}
	}
	for _, m := range messages {
		switch {
		// struct in_pktinfo: int ifindex; struct in_addr spec_dst, addr
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return localAddr{addr: netip.AddrFrom4([4]byte(m.Data[4:8]))}
		// struct in6_pktinfo: struct in6_addr addr; int ifindex
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			l := localAddr{addr: netip.AddrFrom16([16]byte(m.Data[:16]))}
			if l.addr.IsLinkLocalUnicast() {
				l.ifindex = binary.NativeEndian.Uint32(m.Data[16:])
			}
			return l
		}
	}
	return localAddr{}
}

// oob is the control message for a datagram from l.
func (l localAddr) oob() []byte {
	switch {
	case !l.addr.IsValid() || l.addr.IsUnspecified():
		return nil
	case l.addr.Is4():
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: l.addr.As4()})
	default:
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: l.addr.As16(), Ifindex: l.ifindex})
	}
}
