package namespaces

import (
	"net/netip"
	"testing"
)

func prefixes(s ...string) (p []netip.Prefix) {
	for _, s := range s {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func TestChooseSubnets(t *testing.T) {
	for _, tc := range []struct {
		name          string
		routes        []netip.Prefix
		networks      []netip.Prefix
		former        Subnets
		slirp, bridge string
		pools         bool
	}{
		{"a plain host", prefixes("192.0.2.0/24"), nil, Subnets{}, "10.240.2.0/24", "172.17.0.1/16", false},
		{"a host engine", prefixes("172.17.0.0/16"), nil, Subnets{}, "10.240.2.0/24", "172.18.0.1/16", true},
		{"a VPN of everything", prefixes("0.0.0.0/1", "128.0.0.0/1"), nil, Subnets{}, "10.240.2.0/24", "172.17.0.1/16", false},
		{"a VPN of 10/8", prefixes("10.0.0.0/8"), nil, Subnets{}, "192.168.240.0/24", "172.17.0.1/16", true},
		{"a host route", prefixes("10.240.2.77/32"), nil, Subnets{}, "10.241.2.0/24", "172.17.0.1/16", false},
		{"all private networks", prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"), nil, Subnets{}, "198.18.2.0/24", "198.18.16.1/21", true},
		{"nothing is free", prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"), nil, Subnets{}, "10.240.2.0/24", "172.17.0.1/16", false},
		{"the former ones", nil, nil, Subnets{Slirp: netip.MustParsePrefix("10.241.2.0/24"), Bridge: netip.MustParsePrefix("172.20.0.1/16")},
			"10.241.2.0/24", "172.20.0.1/16", false},
		{"the former ones are taken now", prefixes("10.241.0.0/16", "172.20.3.0/24"), nil,
			Subnets{Slirp: netip.MustParsePrefix("10.241.2.0/24"), Bridge: netip.MustParsePrefix("172.20.0.1/16")}, "10.240.2.0/24", "172.17.0.1/16", true},
		{"the engine's own network where the host has the first", prefixes("172.17.0.0/16"), prefixes("172.18.0.0/16", "10.240.0.0/16"), Subnets{},
			"10.241.2.0/24", "172.19.0.1/16", true},
		{"the former bridge is an own network now", nil, prefixes("172.20.0.0/24"), Subnets{Bridge: netip.MustParsePrefix("172.20.0.1/16")},
			"10.240.2.0/24", "172.17.0.1/16", false},
		{"nothing is free, and the engine has the first", prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"), prefixes("172.17.0.0/16"),
			Subnets{}, "10.240.2.0/24", "172.18.0.1/16", false},
	} {
		s := ChooseSubnets(tc.routes, tc.networks, tc.former)
		if s.Slirp.String() != tc.slirp || s.Bridge.String() != tc.bridge || (len(s.Pools) > 0) != tc.pools {
			t.Errorf("%s: slirp %s, bridge %s, pools %v", tc.name, s.Slirp, s.Bridge, s.Pools)
		}
		for _, p := range s.Pools {
			for _, r := range append(tc.routes, s.Slirp) {
				if r.Bits() >= leastBits && r.Overlaps(p.Base) {
					t.Errorf("%s: pool %s overlaps %s", tc.name, p.Base, r)
				}
			}
		}
	}
	if s := ChooseSubnets(nil, nil, Subnets{}); s.Host().String() != "10.240.2.2" || s.DNS().String() != "10.240.2.3" {
		t.Errorf("host %s, name server %s", s.Host(), s.DNS())
	}
}
