package isolated

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
)

func TestParseArgs(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want map[string][]string
	}{
		{nil, map[string][]string{}},
		{[]string{"--debug", "--label", "a=b", "--label=c=d"}, map[string][]string{"debug": {""}, "label": {"a=b", "c=d"}}},
		{[]string{"-H", "tcp://x"}, map[string][]string{"host": {"tcp://x"}}},
		{[]string{"-Htcp://x"}, map[string][]string{"host": {"tcp://x"}}},
		{[]string{"-H=tcp://x"}, map[string][]string{"host": {"tcp://x"}}},
		{[]string{"-DH", "tcp://x"}, map[string][]string{"debug": {""}, "host": {"tcp://x"}}},
		{[]string{"-D", "-l", "warn"}, map[string][]string{"debug": {""}, "log-level": {"warn"}}},
		{[]string{"--live-restore", "--mtu", "1400"}, map[string][]string{"live-restore": {""}, "mtu": {"1400"}}},
	} {
		if diff := cmp.Diff(tc.want, parseArgs(tc.args)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.args, diff)
		}
	}
}

func TestReservedSettings(t *testing.T) {
	for _, args := range [][]string{
		{"--host", "tcp://:2375"}, {"-H=fd://"}, {"-DHfd://"}, {"--data-root=/x"}, {"-g", "/x"}, {"--exec-root", "/x"}, {"-p/x"},
		{"--config-file", "/x"}, {"--containerd", "/x"}, {"--cgroup-parent", "x"}, {"--userland-proxy-path=/x"},
		{"--userland-proxy=false"}, {"--rootless"}, {"--version"}, {"-v"}, {"--help"}, {"--validate"},
	} {
		if _, err := readDaemonOptions(args, ""); failure.Code(err) != failure.CodeRefused || failure.Hint(err) == "" {
			t.Errorf("%q: %v, want a refusal with a hint", args, err)
		}
	}
	if _, err := readDaemonOptions([]string{"--userland-proxy=true", "--debug", "--insecure-registry", "x"}, ""); err != nil {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "daemon.json")
	for _, tc := range []struct {
		file string
		ok   bool
	}{
		{``, true}, {" \n", true}, {"\ufeff{}", true}, {`{"debug": true, "labels": ["a=b"]}`, true}, {`{"userland-proxy": true}`, true},
		{`{"hosts": ["tcp://:2375"]}`, false}, {`{"data-root": "/x"}`, false}, {`{"exec-root": "/x"}`, false}, {`{"pidfile": "/x"}`, false},
		{`{"containerd": "/x"}`, false}, {`{"userland-proxy": false}`, false}, {`{"exec-opts": "x"}`, false},
		{`{`, false}, {`[]`, false}, {`{} {}`, false},
	} {
		if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readDaemonOptions(nil, path)
		if tc.ok && err != nil || !tc.ok && failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s: %v", tc.file, err)
		}
	}
	if _, err := readDaemonOptions(nil, path+".missing"); failure.Code(err) != failure.CodeRefused {
		t.Errorf("a missing file: %v, want a refusal", err)
	}
}

func TestMerged(t *testing.T) {
	net := namespaces.Subnets{Slirp: netip.MustParsePrefix("10.0.2.0/24"), Bridge: netip.MustParsePrefix("172.18.0.1/16")}
	pools := net
	pools.Pools = []namespaces.Pool{{Base: netip.MustParsePrefix("172.19.0.0/16"), Size: 16}}
	for _, tc := range []struct {
		name, file string
		args       []string
		net        namespaces.Subnets
		want       map[string]any
		wantArgs   []string
	}{
		{"nothing of the user's", "", nil, net, map[string]any{
			"dns": []any{"10.0.2.3"}, "mtu": 65520.0, "bip": "172.18.0.1/16", "exec-opts": []any{"native.cgroupdriver=cgroupfs"}}, nil},
		{"all in the file", `{"dns": ["9.9.9.9"], "mtu": 1400, "bridge": "none", "exec-opts": ["native.cgroupdriver=systemd"],
			"default-address-pools": [], "features": {"x": true}}`, nil, pools, map[string]any{
			"dns": []any{"9.9.9.9"}, "mtu": 1400.0, "bridge": "none", "exec-opts": []any{"native.cgroupdriver=systemd"},
			"default-address-pools": []any{}, "features": map[string]any{"x": true}}, nil},
		{"all as arguments", "", []string{"--dns", "9.9.9.9", "--mtu=1400", "--bip", "10.1.0.1/24", "--exec-opt", "isolation=x",
			"--default-address-pool", "base=10.2.0.0/16,size=24"}, pools, map[string]any{},
			[]string{"--dns", "9.9.9.9", "--mtu=1400", "--bip", "10.1.0.1/24", "--exec-opt", "isolation=x",
				"--default-address-pool", "base=10.2.0.0/16,size=24", "--exec-opt", "native.cgroupdriver=cgroupfs"}},
		{"the user's pools, which are the bridge's too", `{"default-address-pools": [{"base": "10.3.0.0/16", "size": 24}]}`, nil, pools, map[string]any{
			"dns": []any{"10.0.2.3"}, "mtu": 65520.0, "exec-opts": []any{"native.cgroupdriver=cgroupfs"},
			"default-address-pools": []any{map[string]any{"base": "10.3.0.0/16", "size": 24.0}}}, nil},
		{"live-restore as an argument", `{"mtu": 1400, "dns": [], "bridge": "none", "exec-opts": ["native.cgroupdriver=x"]}`,
			[]string{"--debug", "--live-restore", "--live-restore=true"}, net, map[string]any{
				"dns": []any{}, "mtu": 1400.0, "bridge": "none", "exec-opts": []any{"native.cgroupdriver=x"}, "live-restore": true}, []string{"--debug"}},
		{"other exec-opts in the file", `{"exec-opts": ["isolation=x"]}`, nil, pools, map[string]any{
			"dns": []any{"10.0.2.3"}, "mtu": 65520.0, "bip": "172.18.0.1/16",
			"exec-opts":             []any{"isolation=x", "native.cgroupdriver=cgroupfs"},
			"default-address-pools": []any{map[string]any{"base": "172.19.0.0/16", "size": 16.0}}}, nil},
	} {
		path := ""
		if tc.file != "" {
			path = filepath.Join(t.TempDir(), "daemon.json")
			if err := os.WriteFile(path, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := readDaemonOptions(tc.args, path)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		data, args, err := s.merged(tc.net)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		var got map[string]any
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if !slices.Equal(args, tc.wantArgs) {
			t.Errorf("%s: arguments %q, want %q", tc.name, args, tc.wantArgs)
		}
	}
}

func TestLiveRestore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte(`{"live-restore": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		path string
		want bool
	}{
		{nil, "", false}, {[]string{"--live-restore"}, "", true}, {[]string{"--live-restore=true"}, "", true},
		{[]string{"--live-restore=false"}, "", false}, {nil, path, true},
	} {
		s, err := readDaemonOptions(tc.args, tc.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.liveRestore(); got != tc.want {
			t.Errorf("%q, %q: %v", tc.args, tc.path, got)
		}
	}
}

func TestNftables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte(`{"firewall-backend": "nftables"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		path string
		want bool
	}{
		{nil, "", false}, {[]string{"--firewall-backend", "nftables"}, "", true}, {[]string{"--firewall-backend=iptables"}, "", false},
		{nil, path, true},
	} {
		s, err := readDaemonOptions(tc.args, tc.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.nftables(); got != tc.want {
			t.Errorf("%q, %q: %v", tc.args, tc.path, got)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("--label\x00a=b\x00-DH", `{"dns": ["1.1.1.1"]}`)
	f.Add("-", `{"exec-opts": null}`)
	f.Fuzz(func(t *testing.T, joined, file string) {
		args := strings.Split(joined, "\x00")
		flags := parseArgs(args)
		keys, err := parseFile([]byte(file))
		if err != nil {
			return
		}
		s := &daemonOptions{args: args, flags: flags, file: keys}
		data, _, err := s.merged(namespaces.ChooseSubnets(nil, nil, namespaces.Subnets{}))
		if err == nil && !json.Valid(data) {
			t.Errorf("not JSON: %s", data)
		}
	})
}
