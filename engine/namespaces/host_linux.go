package namespaces

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// HostAddress returns the IPv4 address at which others reach the host; the zero Addr if there
// is none.
func HostAddress() netip.Addr {
	// The address that the host would send from. This sends nothing.
	if conn, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		defer conn.Close()
		if addr := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(); addr.IsGlobalUnicast() {
			return addr
		}
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok && addr.Unmap().Is4() && addr.Unmap().IsGlobalUnicast() {
				return addr.Unmap()
			}
		}
	}
	return netip.Addr{}
}

// WatchHostAddress calls changed whenever [HostAddress] differs from its last value, which
// begins as last. It returns when ctx ends or changes can't be watched.
func WatchHostAddress(ctx context.Context, last netip.Addr, changed func(netip.Addr)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "addresses")
	defer file.Close()
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	defer context.AfterFunc(ctx, func() { _ = file.Close() })()
	buf := make([]byte, 1<<16)
	for {
		if now := HostAddress(); now != last {
			last = now
			changed(now)
		}
		_, err := file.Read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// Lost messages are changes too.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
	}
}
