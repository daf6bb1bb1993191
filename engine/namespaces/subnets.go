package namespaces

import (
	"net/netip"
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
}

// A Pool is an entry of daemon.json's default-address-pools.
type Pool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// DNS is slirp4netns's own name server, the third address of its network.
func (s Subnets) DNS() netip.Addr { return s.Slirp.Masked().Addr().Next().Next().Next() }

// leastBits is the shortest prefix that says which networks the host uses. Shorter
// ones (0.0.0.0/0, or 0.0.0.0/1 and 128.0.0.0/1 of a VPN) mean "everything else".
const leastBits = 8

// ChooseSubnets returns networks that collide with none of the host's routes, and
// former ones again where that can be. Where everything is taken, it takes what
// docker and slirp4netns would.
func ChooseSubnets(routes []netip.Prefix, former Subnets) Subnets {
	taken := make([]netip.Prefix, 0, len(routes)+2)
	for _, r := range routes {
		if r.IsValid() && r.Bits() >= leastBits {
			taken = append(taken, r)
		}
	}
	free := func(p netip.Prefix) bool {
		for _, t := range taken {
			if t.Overlaps(p) {
				return false
			}
		}
		return true
	}
	first := func(former netip.Prefix, candidates []netip.Prefix) netip.Prefix {
		if former.IsValid() && free(former.Masked()) {
			return former.Masked()
		}
		for _, c := range candidates {
			if free(c) {
				return c
			}
		}
		return candidates[0]
	}
	var s Subnets
	s.Slirp = first(former.Slirp, slirpCandidates())
	taken = append(taken, s.Slirp)
	bridge := first(former.Bridge, poolCandidates())
	s.Bridge = netip.PrefixFrom(bridge.Addr().Next(), bridge.Bits())

	// The pools only where dockerd's own would collide.
	for _, c := range poolCandidates()[:dockerPools] {
		if !free(c) {
			s.Pools = choosePools(free)
			break
		}
	}
	return s
}

func choosePools(free func(netip.Prefix) bool) []Pool {
	const enough = 16 // networks
	var pools []Pool
	for i, c := range poolCandidates() {
		if !free(c) || i >= dockerPools && len(pools) >= enough {
			continue
		}
		pools = append(pools, Pool{Base: c, Size: c.Bits()})
	}
	return pools
}

// slirpCandidates begins with what slirp4netns uses by itself.
func slirpCandidates() []netip.Prefix {
	candidates := []netip.Prefix{block(10, 0, 2, 24)}
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
