package namespaces

import (
	"net/netip"
	"os"
	"syscall"
)

// HostRoutes returns the destinations of all IPv4 routes in the network namespace of
// the process, in all tables.
func HostRoutes() ([]netip.Prefix, error) {
	data, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_INET)
	if err != nil {
		return nil, os.NewSyscallError("netlinkrib", err)
	}
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return nil, os.NewSyscallError("parsenetlinkmessage", err)
	}
	var routes []netip.Prefix
	for _, m := range messages {
		if m.Header.Type != syscall.RTM_NEWROUTE || len(m.Data) < syscall.SizeofRtMsg {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(&m)
		if err != nil {
			continue
		}
		// struct rtmsg: family, dst_len, src_len, tos, table, …
		bits := int(m.Data[1])
		for _, a := range attrs {
			if a.Attr.Type != syscall.RTA_DST || len(a.Value) != 4 {
				continue
			}
			routes = append(routes, netip.PrefixFrom(netip.AddrFrom4([4]byte(a.Value)), bits).Masked())
		}
	}
	return routes, nil
}
