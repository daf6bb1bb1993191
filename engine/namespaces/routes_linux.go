package namespaces

import (
	"net/netip"
	"os"
	"syscall"
)

// HostRoutes returns the destinations of all IPv4 routes in the process's network namespace, in
// all tables.
func HostRoutes() ([]netip.Prefix, error) {
	routes, err := readRoutes(syscall.AF_INET)
	var destinations []netip.Prefix
	for _, r := range routes {
		if r.destination.Bits() > 0 {
			destinations = append(destinations, r.destination)
		}
	}
	return destinations, err
}

// slirpIPv6 is slirp4netns's network for IPv6, which is fixed.
var slirpIPv6 = netip.MustParsePrefix("fd00::/64")

// HostIPv6 reports whether the host has an IPv6 default route that slirp4netns can use.
func HostIPv6() bool {
	routes, err := readRoutes(syscall.AF_INET6)
	if err != nil {
		return false
	}
	out := false
	for _, r := range routes {
		switch {
		case r.destination.Bits() == 0:
			out = out || r.forward
		case HostUses(r.destination) && r.destination.Overlaps(slirpIPv6):
			return false
		}
	}
	return out
}

type route struct {
	destination netip.Prefix
	forward     bool // it leads elsewhere
}

func readRoutes(family int) ([]route, error) {
	data, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, family)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	any := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if family == syscall.AF_INET6 {
		any = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	var routes []route
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWROUTE || len(m.Data) < syscall.SizeofRtMsg {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			continue
		}
		// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, …
		bits := int(m.Data[1])
		r := route{destination: any, forward: m.Data[7] == syscall.RTN_UNICAST}
		for _, a := range attrs {
			if addr, ok := netip.AddrFromSlice(a.Value); a.Attr.Type == syscall.RTA_DST && ok {
				r.destination = netip.PrefixFrom(addr, bits).Masked()
			}
		}
		if r.destination.Bits() == bits { // its destination can be read
			routes = append(routes, r)
		}
	}
	return routes, nil
}
