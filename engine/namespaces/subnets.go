package namespaces

import (
	"net/netip"
	"slices"
)

// SlirpMTU is the best MTU for slirp4netns (at most 65521).
const SlirpMTU = 65520

// Subnets are the networks in an engine's own network namespace. They can't collide with
// another engine's, but containers can't reach networks of the host that they cover.
type Subnets struct {
	Slirp  netip.Prefix `json:"slirp"`           // the network that leads outside
	Bridge netip.Prefix `json:"bridge"`          // docker0's own address and network
	Pools  []Pool       `json:"pools,omitempty"` // for users' networks; none: dockerd's own
	IPv6   bool         `json:"ipv6,omitempty"`  // IPv6 leads outside too
}

// A Pool is an entry of daemon.json's default-address-pools.
type Pool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// Host is the address of host-gateway, the second of slirp4netns's network.
func (s Subnets) Host() netip.Addr { return s.Slirp.Masked().Addr().Next().Next() }

// DNS is the engine's name server, the third address of slirp4netns's network.
func (s Subnets) DNS() netip.Addr { return s.Host().Next() }

// leastBits is the shortest prefix that counts as a network of the host. Shorter ones
// (0.0.0.0/0, or 0.0.0.0/1 and 128.0.0.0/1 of a VPN) mean "everything else".
const leastBits = 8

// ChooseSubnets returns networks that collide with no route of the host and no network of the
// engine; the former ones if possible. If everything is taken, it returns the first candidates
// that collide with no network of the engine: containers then can't reach that part of the
// host's networks.
func ChooseSubnets(routes, networks []netip.Prefix, former Subnets) Subnets {
	var hosts []netip.Prefix
	for _, r := range routes {
		if HostUses(r) {
			hosts = append(hosts, r)
		}
	}
	own := slices.Clone(networks)
	first := func(former netip.Prefix, candidates []netip.Prefix) netip.Prefix {
		if former.IsValid() {
			candidates = append([]netip.Prefix{former.Masked()}, candidates...)
		}
		chosen := candidates[0]
		some := false
		for _, c := range candidates {
			if overlaps(c, own) {
				continue
			}
			if !overlaps(c, hosts) {
				return c
			}
			if !some {
				chosen, some = c, true
			}
		}
		return chosen
	}
	var s Subnets
	s.Slirp = first(former.Slirp, slirpCandidates())
	own = append(own, s.Slirp)
	bridge := first(former.Bridge, poolCandidates())
	s.Bridge = netip.PrefixFrom(bridge.Addr().Next(), bridge.Bits())

	// Pools are only needed if dockerd's own would collide.
	taken := append(hosts, s.Slirp)
	for _, c := range poolCandidates()[:dockerPools] {
		if overlaps(c, taken) {
			s.Pools = choosePools(taken)
			break
		}
	}
	return s
}

// HostUses reports whether the destination of a route is a network that the host uses.
func HostUses(route netip.Prefix) bool { return route.IsValid() && route.Bits() >= leastBits }

func overlaps(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, p.Overlaps)
}

func choosePools(taken []netip.Prefix) []Pool {
	const enough = 16 // networks
	var pools []Pool
	for i, c := range poolCandidates() {
		if overlaps(c, taken) || i >= dockerPools && len(pools) >= enough {
			continue
		}
		pools = append(pools, Pool{Base: c, Size: c.Bits()})
	}
	return pools
}

// slirpCandidates are networks for slirp4netns. Its default, 10.0.2.0/24, is not among them: a swarm
// makes its networks from 10.0.0.0/24 on, without regard to others.
func slirpCandidates() []netip.Prefix {
	var candidates []netip.Prefix
	for i := range 16 {
		candidates = append(candidates, block(10, byte(240+i), 2, 24))
	}
	for i := range 16 {
		candidates = append(candidates, block(192, 168, byte(240+i), 24))
	}
	for i := range 16 {
		candidates = append(candidates, block(172, 31, byte(240+i), 24))
	}
	// For benchmarks (RFC 2544): nobody routes it.
	return append(candidates, block(198, 18, 2, 24), block(198, 19, 2, 24))
}

// dockerPools is how many of poolCandidates dockerd uses by itself.
const dockerPools = 15 + 16

// poolCandidates begins with docker's own default pools (moby, libnetwork/ipamutils):
// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in parts of /20.
func poolCandidates() []netip.Prefix {
	var candidates []netip.Prefix
	for i := 17; i <= 31; i++ {
		candidates = append(candidates, block(172, byte(i), 0, 16))
	}
	for i := 0; i < 256; i += 16 {
		candidates = append(candidates, block(192, 168, byte(i), 20))
	}
	for i := 64; i < 256; i += 4 {
		candidates = append(candidates, block(10, byte(i), 0, 16))
	}
	for i := 16; i < 256; i += 8 {
		candidates = append(candidates, block(198, 18, byte(i), 21))
	}
	return candidates
}

func block(a, b, c byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, 0}), bits)
}
