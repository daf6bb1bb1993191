package namespaces

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// loIndex is the number of the loopback interface in every network namespace.
const loIndex = 1

// addToLoopback adds an IPv4 address to this network namespace.
func addToLoopback(addr netip.Addr) error {
	// struct ifaddrmsg: family, prefixlen, flags, scope, index
	body := []byte{unix.AF_INET, 32, 0, unix.RT_SCOPE_UNIVERSE}
	body = binary.NativeEndian.AppendUint32(body, loIndex)
	ip := addr.As4()
	body = appendAttr(body, unix.IFA_LOCAL, ip[:])
	body = appendAttr(body, unix.IFA_ADDRESS, ip[:])
	if err := routeRequest(unix.RTM_NEWADDR, unix.NLM_F_REPLACE, body); err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	return nil
}

// deliverMarked makes the kernel deliver packets with a mark locally in this network namespace,
// whatever their destination. The routing table has the mark as its number.
func deliverMarked(family byte, mark uint32) error {
	// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
	route := []byte{family, 0, 0, 0, unix.RT_TABLE_UNSPEC, unix.RTPROT_STATIC, unix.RT_SCOPE_HOST, unix.RTN_LOCAL, 0, 0, 0, 0}
	route = appendNumber(route, unix.RTA_TABLE, mark)
	route = appendNumber(route, unix.RTA_OIF, loIndex)
	if err := routeRequest(unix.RTM_NEWROUTE, unix.NLM_F_REPLACE, route); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	// struct fib_rule_hdr: family, dst_len, src_len, tos, table, two unused, action, flags
	rule := []byte{family, 0, 0, 0, unix.RT_TABLE_UNSPEC, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0}
	rule = appendNumber(rule, unix.FRA_PRIORITY, 100) // before the main table, behind the local one
	rule = appendNumber(rule, unix.FRA_FWMARK, mark)
	rule = appendNumber(rule, unix.FRA_TABLE, mark)
	if err := routeRequest(unix.RTM_NEWRULE, unix.NLM_F_EXCL, rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add routing rule: %w", err)
	}
	return nil
}

// appendAttr appends a struct rtattr with its value, padded to four bytes.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func appendNumber(b []byte, kind uint16, value uint32) []byte {
	return appendAttr(b, kind, binary.NativeEndian.AppendUint32(nil, value))
}

// routeRequest makes a request to create something in this network namespace (rtnetlink(7)).
func routeRequest(kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	// struct nlmsghdr: len, type, flags, seq, pid
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|flags)
	message = append(message, make([]byte, 8)...)
	message = append(message, body...)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	// struct nlmsgerr: error, then the request's header
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer can't be understood")
	}
	if errno := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}
