package portproxy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseArgs(t *testing.T) {
	tcp := config{Proto: "tcp", Host: netip.MustParseAddrPort("0.0.0.0:8080"), Container: netip.MustParseAddrPort("172.17.0.2:80")}
	udp6 := config{Proto: "udp", Host: netip.MustParseAddrPort("[::]:53"), Container: netip.MustParseAddrPort("172.17.0.2:53")}
	listen := tcp
	listen.UseListenFD = true
	for _, tc := range []struct {
		args string
		want config
	}{
		{"-proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80", tcp},
		{"--proto=tcp --host-ip=0.0.0.0 --host-port=8080 --container-ip=172.17.0.2 --container-port=80", tcp},
		{"-host-ip ::ffff:0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80", tcp},
		{"-proto udp -host-ip :: -host-port 53 -container-ip 172.17.0.2 -container-port 53", udp6},
		{"-proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80 -use-listen-fd", listen},
		{"-use-listen-fd=true -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80", listen},
		{"-use-listen-fd=false -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80", tcp},
	} {
		got, err := parseArgs(strings.Fields(tc.args))
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.args, got, err, tc.want)
		}
	}
	const rest = " -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80"
	for _, args := range []string{
		"", "-proto tcp", "-proto sctp" + rest, "-proto icmp" + rest, "-host-ip x" + rest, "-host-port 65536" + rest, "-host-port -1" + rest,
		"stray" + rest, "-no-such 1" + rest, rest + " -proto", strings.Replace(rest, "8080", "0", 1),
	} {
		if got, err := parseArgs(strings.Fields(args)); err == nil {
			t.Errorf("%q: %+v, want an error", args, got)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("-proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80")
	f.Add("-use-listen-fd --host-ip=::")
	f.Fuzz(func(t *testing.T, args string) {
		cfg, err := parseArgs(strings.Fields(args))
		if err == nil && (!cfg.Host.IsValid() || !cfg.Container.IsValid() || cfg.network() == "") {
			t.Errorf("%q: %+v", args, cfg)
		}
	})
}
