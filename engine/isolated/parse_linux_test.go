package isolated

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
)

func TestPrivateResolvConf(t *testing.T) {
	host := "# comment\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch  a.example b.example\noptions edns0 trust-ad\nsortlist x\nsearch\n"
	want := "nameserver 10.0.2.3\nsearch a.example b.example\noptions edns0 trust-ad\n"
	if got := string(privateResolvConf(host, netip.MustParseAddr("10.0.2.3"))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSysctls(t *testing.T) {
	u := configIn("/u")
	for backend, forward := range map[string]bool{"iptables": false, "nftables": true} {
		user, err := readDaemonOptions([]string{"--firewall-backend", backend}, "")
		if err != nil {
			t.Fatal(err)
		}
		got := u.sysctls(user)
		for _, ctl := range got {
			if !files.Exists("/proc/sys/"+ctl.Name) && !strings.HasPrefix(ctl.Name, "net/ipv6/") {
				t.Errorf("there is no %s", ctl.Name)
			}
		}
		for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"} {
			if slices.Contains(got, namespaces.Sysctl{Name: name, Value: "1"}) != forward {
				t.Errorf("%s, %s: %v", backend, name, got)
			}
		}
	}
}

func TestEngineEnv(t *testing.T) {
	for _, name := range []string{"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CONTAINERD_ROOT", "DOCKER_DRIVER", "DOCKER_RD_HOME"} {
		t.Setenv(name, "/theirs")
	}
	t.Setenv("HTTPS_PROXY", "http://proxy.example")
	cfg := configIn("/state")
	cfg.UID, cfg.Settings.Driver = "u", instance.DriverDockerd
	env := cfg.engineEnv()
	for _, entry := range env {
		if strings.HasSuffix(entry, "=/theirs") {
			t.Errorf("the engine gets %s", entry)
		}
	}
	for _, want := range []string{"HTTPS_PROXY=http://proxy.example", processes.MarkerEnv + "=u"} {
		if !slices.Contains(env, want) {
			t.Errorf("the engine does not get %s", want)
		}
	}
	// A service may have no HOME, and dockerd does not start for an ordinary user without.
	t.Setenv("HOME", "")
	cfg.Settings.Driver = instance.DriverRootless
	env = cfg.engineEnv()
	if !slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, "HOME=/") }) {
		t.Error("an ordinary user's engine gets no HOME")
	}
}

func TestCheckRefuses(t *testing.T) {
	good := newInstance(t).cfg
	file := good.Paths.EngineLog() + "-file"
	for name, change := range map[string]func(*Config){
		"uid":                    func(c *Config) { c.UID = "../x" },
		"relative path":          func(c *Config) { c.Paths.Data = "data" },
		"socket too long":        func(c *Config) { c.Paths.Runtime = "/" + strings.Repeat("s", maxSocket-len("/docker.sock")) },
		"exec-root too long":     func(c *Config) { c.Paths.Runtime = "/" + strings.Repeat("x", maxExecRoot-len("/exec")) },
		"data root in /proc":     func(c *Config) { c.Paths.Data = "/proc/nowhere" },
		"data root is a file":    func(c *Config) { c.Paths.Data = "/etc/passwd" },
		"data root below a file": func(c *Config) { c.Paths.Data = "/etc/passwd/x" },
		"data root with a comma": func(c *Config) { c.Paths.Data = "/tmp/a,b" },
		"data root with a colon": func(c *Config) { c.Paths.Data = "/tmp/a:b" },
		"exec-root with a colon": func(c *Config) { c.Paths.Runtime = "/tmp/a:b" },
		"log with a percent":     func(c *Config) { c.Paths.State = "/tmp/%s" },
		"argument":               func(c *Config) { c.Settings.EngineArgs = []string{"-H", "tcp://:1"} },
		"daemon configuration":   func(c *Config) { c.Settings.DaemonConfig = file },
	} {
		cfg := copied(good)
		change(&cfg)
		if err := refusal(cfg); failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s: %v, want a refusal", name, err)
		} else {
			t.Logf("%s: %v (hint: %s)", name, err, failure.Hint(err))
		}
	}
	t.Setenv("PATH", t.TempDir())
	if err := refusal(good); err != nil {
		t.Errorf("with an ordinary user's PATH: %v", err)
	}
}

// The network that leads outside is none of the bridge's, which the user may choose.
func TestChosenBridge(t *testing.T) {
	l := &launch{cfg: configIn(t.TempDir()), user: &daemonOptions{}}
	chosen, err := l.chooseSubnets()
	if err == nil {
		l.user, err = readDaemonOptions([]string{"--bip", chosen.Host().String() + "/24"}, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	if now, err := l.chooseSubnets(); err != nil || now.Slirp.Overlaps(chosen.Slirp) {
		t.Errorf("beside a bridge with %s: %+v, %v", chosen.Slirp, now, err)
	}
}

// An engine that has ended is described alike, whether its start had returned by then or not.
func TestLastWords(t *testing.T) {
	cfg := configIn(t.TempDir())
	cfg.Settings.DaemonConfig = "/home/ann/daemon.json"
	if err := os.MkdirAll(filepath.Dir(cfg.Paths.EngineLog()), 0o700); err != nil {
		t.Fatal(err)
	}
	line := "unable to configure the Docker daemon with file " + cfg.private(daemonJSON) + ": no\n"
	if err := os.WriteFile(cfg.Paths.EngineLog(), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.lastWords(nil, 0), "unable to configure the Docker daemon with file /home/ann/daemon.json: no"; got != want {
		t.Errorf("its last words are %q, want %q", got, want)
	}
	killed := func() syscall.Signal { return syscall.SIGTERM }
	if got, want := cfg.lastWords(killed, 0), "the engine was ended by SIGTERM"; got != want {
		t.Errorf("its last words are %q, want %q", got, want)
	}
}
