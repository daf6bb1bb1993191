package namespaces

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lo is the loopback interface, which has this number in every network namespace.
var lo = &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1}}

// addToLoopback adds an address to this network namespace.
func addToLoopback(addr netip.Addr) error {
	if err := netlink.AddrReplace(lo, &netlink.Addr{IPNet: netlink.NewIPNet(addr.AsSlice())}); err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	return nil
}

// removeBridge removes the bridge of a name, if there is one, from this network namespace.
func removeBridge(name string) error {
	link, err := netlink.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil
	}
	if err == nil && link.Type() == (&netlink.Bridge{}).Type() {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove bridge %q: %w", name, err)
	}
	return nil
}

// everywhere is the destination of a default route.
func everywhere(family int) *net.IPNet {
	if family == unix.AF_INET {
		return &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	}
	return &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
}

// deliverMarked makes the kernel deliver packets with a mark locally in this network namespace,
// whatever their destination. The routing table has the mark as its number.
func deliverMarked(family, mark int) error {
	err := netlink.RouteReplace(&netlink.Route{
		Table: mark, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Protocol: unix.RTPROT_STATIC,
		LinkIndex: lo.Index, Dst: everywhere(family),
	})
	if err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = family, uint32(mark), mark
	rule.Priority = 100 // before the main table, behind the local one
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add routing rule: %w", err)
	}
	return nil
}

// HostRoutes returns the destinations of all IPv4 routes in the process's network namespace, in
// all tables.
func HostRoutes() ([]netip.Prefix, error) {
	routes, err := readRoutes(unix.AF_INET)
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
	routes, err := readRoutes(unix.AF_INET6)
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

// readRoutes returns the routes of all tables.
func readRoutes(family int) ([]route, error) {
	all, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile: no list is better
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var routes []route
	for _, r := range all {
		if r.Dst == nil {
			r.Dst = everywhere(family)
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		if bits, _ := r.Dst.Mask.Size(); ok {
			if family == unix.AF_INET {
				addr = addr.Unmap()
			}
			routes = append(routes, route{netip.PrefixFrom(addr, bits).Masked(), r.Type == unix.RTN_UNICAST})
		}
	}
	return routes, nil
}
