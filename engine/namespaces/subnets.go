package namespaces

import (
	"net/netip"
	"slices"
)

// SlirpMTU is what slirp4netns does best with (at most 65521).
const SlirpMTU = 65520

// Subnets are the addresses an engine uses in its own network namespace. They can't
// collide with another engine's; but what they cover on the host's side can't be
// reached from containers.
type Subnets struct {
	Slirp  netip.Prefix `json:"slirp"`           // the network that leads outside
	Bridge netip.Prefix `json:"bridge"`          // docker0's own address and network
	Pools  []Pool       `json:"pools,omitempty"` // for networks people make; none: dockerd's
	IPv6   bool         `json:"ipv6,omitempty"`  // the network that leads outside does so for IPv6 too
}

// A Pool is an entry of daemon.json's default-address-pools.
type Pool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// Host is the address that stands for the host, the second of slirp4netns's network.
func (s Subnets) Host() netip.Addr { return s.Slirp.Masked().Addr().Next().Next() }

// DNS is the engine's name server, the third address of slirp4netns's network.
func (s Subnets) DNS() netip.Addr { return s.Host().Next() }

// leastBits is the shortest prefix that says which networks the host uses. Shorter
// ones (0.0.0.0/0, or 0.0.0.0/1 and 128.0.0.0/1 of a VPN) mean "everything else".
const leastBits = 8

// ChooseSubnets returns networks that collide with none of the host's routes and none of
// the engine's own networks, and former ones again where that can be. Where everything is
// taken, it takes the first candidates that no network of the engine has: the engine runs, but
// can't reach what the host's routes lead to there.
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
	if firstSwarmNetworks.Overlaps(former.Slirp) {
		former.Slirp = netip.Prefix{}
	}
	s.Slirp = first(former.Slirp, slirpCandidates())
	own = append(own, s.Slirp)
	bridge := first(former.Bridge, poolCandidates())
	s.Bridge = netip.PrefixFrom(bridge.Addr().Next(), bridge.Bits())

	// The pools only where dockerd's own would collide.
	taken := append(hosts, s.Slirp)
	for _, c := range poolCandidates()[:dockerPools] {
		if overlaps(c, taken) {
			s.Pools = choosePools(taken)
			break
		}
	}
	return s
}

// HostUses reports whether a route of the host's says that its destination is a network
// that the host uses.
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

// firstSwarmNetworks holds the networks that a swarm makes first, one after another without
// a look at what else there is: the third has slirp4netns's own choice, 10.0.2.0/24.
var firstSwarmNetworks = netip.PrefixFrom(netip.AddrFrom4([4]byte{10}), 12)

// slirpCandidates are networks for slirp4netns.
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
