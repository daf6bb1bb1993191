package dockerd

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"

	"github.com/docker-rd/docker-rd/internal/failure"
)

const id64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestHierarchies(t *testing.T) {
	const hybrid = `21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/my\040freezer rw shared:16 - cgroup cgroup rw,freezer
34 30 0:29 / /elsewhere rw shared:16 - cgroup cgroup rw,freezer
`
	for _, tc := range []struct {
		name, in string
		want     hierarchies
	}{
		{"none", "21 1 254:0 / / rw - ext4 /dev/vda rw\n", hierarchies{}},
		{"version 2", "30 21 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n", hierarchies{v2: "/sys/fs/cgroup"}},
		{"hybrid", hybrid, hierarchies{v2: "/sys/fs/cgroup/unified",
			v1: []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/my freezer"}, freezer: "/sys/fs/cgroup/my freezer"}},
	} {
		infos, err := mountinfo.GetMountsFromReader(strings.NewReader(tc.in), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
		if err != nil {
			t.Fatal(err)
		}
		got := hierarchiesOf(infos)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(hierarchies{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestCgroupPaths(t *testing.T) {
	file := "12:freezer:/else/" + id64 + "/inner\n11:cpu:/else/" + id64 + "\n5:name=systemd:/system.slice/docker-" + id64 + ".scope\n" +
		"4:pids:/user.slice\n0::/\n"
	want := []string{"/else/" + id64, "/system.slice/docker-" + id64 + ".scope"}
	if diff := cmp.Diff(want, cgroupPaths(file, id64)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := cgroupPaths("1:x\n\nnonsense\n", id64); got != nil {
		t.Errorf("nonsense: %q", got)
	}
}

func TestEnvValue(t *testing.T) {
	env := []byte("A=1\x00DOCKER_RD_ENGINE=a=b\x00nonsense\x00B=\x00")
	for name, want := range map[string]string{"DOCKER_RD_ENGINE": "a=b", "ENGINE": "", "A": "1", "B": "", "nonsense": "", "": ""} {
		if got := envValue(env, name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestSlirpsLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for log, want := range map[string]string{
		"": "it ended without a word",
		"sent tapfd=5 for tap0\nopen /dev/net/tun: No such device\nchild failed(1)\n": "open /dev/net/tun: No such device",
		"slirp4netns: unrecognized option '--netns-type=path'\n":                      "unrecognized option '--netns-type=path'",
	} {
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastWords(path); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

func TestPrivateResolvConf(t *testing.T) {
	host := "# comment\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch  a.example b.example\noptions edns0 trust-ad\nsortlist x\nsearch\n"
	want := "nameserver 10.0.2.3\nsearch a.example b.example\noptions edns0 trust-ad\n"
	if got := string(privateResolvConf(host, netip.MustParseAddr("10.0.2.3"))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPortRange(t *testing.T) {
	for _, host := range []string{"", "x y", "1", "2 1", "1024 70000", "-1 5"} {
		if got := portRange(host, "a"); got != "" {
			t.Errorf("%q: %q", host, got)
		}
	}
	if got := portRange("40000\t40001\n", "a"); got != "40000 40001" {
		t.Errorf("two ports: %q", got)
	}
	var begins []int
	for _, uid := range []string{"a", "b", "c", "d"} {
		var first, last int
		if _, err := fmt.Sscan(portRange("32768\t60999\n", uid), &first, &last); err != nil {
			t.Fatal(err)
		}
		if first < 32768 || first > 46883 || first%2 != 0 || last != 60999 {
			t.Errorf("%s: %d to %d", uid, first, last)
		}
		begins = append(begins, first)
	}
	slices.Sort(begins)
	if n := len(slices.Compact(slices.Clone(begins))); n != len(begins) {
		t.Errorf("engines begin at the same port: %v", begins)
	}
}

func TestSysctls(t *testing.T) {
	for backend, forward := range map[string]bool{"iptables": false, "nftables": true} {
		user, err := readSettings([]string{"--firewall-backend", backend}, "")
		if err != nil {
			t.Fatal(err)
		}
		got := (&Config{UID: "u"}).sysctls(user)
		for _, ctl := range got {
			if !exists("/proc/sys/"+ctl.Name) && !strings.HasPrefix(ctl.Name, "net/ipv6/") {
				t.Errorf("there is no %s", ctl.Name)
			}
		}
		for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"} {
			if slices.Contains(got, sysctl{name, "1"}) != forward {
				t.Errorf("%s, %s: %v", backend, name, got)
			}
		}
	}
}

func TestEngineEnv(t *testing.T) {
	for _, name := range []string{"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CONTAINERD_ROOT", "DOCKER_RD_HOME"} {
		t.Setenv(name, "/theirs")
	}
	t.Setenv("HTTPS_PROXY", "http://proxy.example")
	env := (&Config{UID: "u", StateDir: "/state"}).engineEnv()
	for _, entry := range env {
		if strings.HasSuffix(entry, "=/theirs") {
			t.Errorf("the engine gets %s", entry)
		}
	}
	for _, want := range []string{"HTTPS_PROXY=http://proxy.example", markerEnv + "=u"} {
		if !slices.Contains(env, want) {
			t.Errorf("the engine does not get %s", want)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	good := newInstance(t).cfg
	file := good.LogPath + "-file"
	for name, change := range map[string]func(*Config){
		"uid":                    func(c *Config) { c.UID = "../x" },
		"relative path":          func(c *Config) { c.DataRoot = "data" },
		"socket too long":        func(c *Config) { c.Socket = "/" + strings.Repeat("s", MaxSocket) },
		"exec-root too long":     func(c *Config) { c.ExecRoot = "/" + strings.Repeat("x", MaxExecRoot) },
		"data root in /proc":     func(c *Config) { c.DataRoot = "/proc/nowhere" },
		"data root is a file":    func(c *Config) { c.DataRoot = "/etc/passwd" },
		"data root below a file": func(c *Config) { c.DataRoot = "/etc/passwd/x" },
		"data root with a comma": func(c *Config) { c.DataRoot = "/tmp/a,b" },
		"log with a percent":     func(c *Config) { c.LogPath = "/tmp/%s/log" },
		"no proxy":               func(c *Config) { c.Proxy = file },
		"argument":               func(c *Config) { c.Args = []string{"-H", "tcp://:1"} },
		"daemon configuration":   func(c *Config) { c.ConfigFile = file },
	} {
		cfg := good
		change(&cfg)
		if err := Check(cfg); failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s: %v, want a refusal", name, err)
		} else {
			t.Logf("%s: %v (hint: %s)", name, err, failure.Hint(err))
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := Check(good); err != nil {
		t.Errorf("with an ordinary user's PATH: %v", err)
	}
}
