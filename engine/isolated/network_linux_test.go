package isolated

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// Addresses of the played host's network.
const (
	hostIP    = "203.0.113.9"
	hostIPv6  = "2001:db8:1::9"
	clientIP  = "198.51.100.7"
	clientIP6 = "2001:db8:2::7"
)

// playNetwork gives the played host addresses, and routes that lead nowhere.
func playNetwork(t *testing.T) {
	t.Helper()
	ip(t, "link add h0 type bridge")
	ip(t, "link set h0 up")
	ip(t, "address add "+hostIP+"/24 dev h0")
	ip(t, "route add default via 203.0.113.1 dev h0")
	ip(t, "address add "+hostIPv6+"/64 dev h0 nodad")
	ip(t, "route add default via 2001:db8:1::1 dev h0")
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// greet listens, and tells each connection the text.
func greet(t *testing.T, addr, text string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_ = c.Close()
		}
	}()
}

// dialed runs a container that dials an address, and returns what that says.
func (in *trial) dialed(addr string, args ...string) (string, error) {
	return in.try(append(append([]string{"run", "--rm"}, args...), "app", "dial", addr)...)
}

// host-gateway is the host as others see it, and not its loopback.
func TestHostGateway(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	greet(t, "0.0.0.0:8100", "the host")
	greet(t, "127.0.0.1:8101", "the host's loopback")
	in := newInstance(t)
	in.start()
	in.importImage()
	const name = "host.docker.internal"
	in.docker("network", "create", "mine")
	in.docker("run", "-d", "--name", "there", "--add-host", name+":host-gateway", "app", "sleep")
	for _, network := range []string{"bridge", "mine", "host"} {
		if out, err := in.dialed(name+":8100", "--network", network, "--add-host", name+":host-gateway"); err != nil || out != "the host" {
			t.Errorf("from network %s: %q, %v", network, out, err)
		}
		if out, err := in.dialed(name+":8101", "--network", network, "--add-host", name+":host-gateway"); err == nil {
			t.Errorf("from network %s the host's loopback answers: %q", network, out)
		}
	}
	same := func(when string) {
		t.Helper()
		in.eventually("the host's new address is the one "+when, func() error {
			out, err := in.try("exec", "there", "/prog", "dial", name+":8100")
			if err != nil || out != "the host" {
				return fmt.Errorf("%q, %w", out, err)
			}
			return nil
		})
	}
	// A host that moves.
	ip(t, "address add 192.0.2.77/24 dev h0")
	ip(t, "route replace default via 192.0.2.1 dev h0")
	ip(t, "address del "+hostIP+"/24 dev h0")
	same("at once")
	in.engine.Release()
	ip(t, "address add "+hostIP+"/24 dev h0")
	ip(t, "address del 192.0.2.77/24 dev h0")
	in.has(in.cfg.Adopt(t.Context()))
	same("after adoption")

	// What the user wants.
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.cfg.Settings.EngineArgs = []string{"--host-gateway-ip", "192.0.2.99"}
	in.start()
	if hosts := in.docker("run", "--rm", "--add-host", name+":host-gateway", "app", "cat", "/etc/hosts"); !strings.Contains(hosts, "192.0.2.99\t"+name) {
		t.Errorf("the user's host-gateway-ip is not in /etc/hosts:\n%s", hosts)
	}
}

// A nameServer of the played host knows one address for all names.
type nameServer struct {
	addr   string // its own, without port
	answer string
}

// serve answers until the test ends. Answers by udp are cut off where the name begins with
// "big".
func (s nameServer) serve(t *testing.T) {
	t.Helper()
	at := net.JoinHostPort(s.addr, "53")
	udp, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close(); _ = tcp.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, client, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(s.message(buf[:n], true), client)
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			if _, err := io.ReadFull(c, size[:]); err == nil {
				query := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := io.ReadFull(c, query); err == nil {
					m := s.message(query, false)
					_, _ = c.Write(append([]byte{byte(len(m) >> 8), byte(len(m))}, m...))
				}
			}
			_ = c.Close()
		}
	}()
}

func (s nameServer) message(query []byte, udp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) == 0 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	switch {
	case udp && strings.HasPrefix(q.Name.String(), "big"):
		m.Truncated = true
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 0},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(s.answer).As4()},
		}}
	}
	answer, _ := m.Pack()
	return answer
}

// All of the host's name servers are the engine's, as they change, wherever they listen.
func TestNameServers(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	resolv := func(content string) {
		t.Helper()
		must(t, os.WriteFile("/etc/resolv.conf.new", []byte(content), 0o644))
		must(t, os.Rename("/etc/resolv.conf.new", hostResolvConf))
	}
	nameServer{"::1", "192.0.2.1"}.serve(t)
	nameServer{"127.0.0.53", "192.0.2.53"}.serve(t)
	resolv("nameserver ::1\n")
	in := newInstance(t)
	in.start()
	in.importImage()
	in.docker("network", "create", "mine")
	in.docker("run", "-d", "--network", "host", "app", "serve", "53") // which takes all addresses
	lookup := func(want string, names ...string) {
		t.Helper()
		for _, network := range []string{"bridge", "mine", "host"} {
			for _, name := range names {
				if out, err := in.try("run", "--rm", "--network", network, "app", "lookup", name+"."); err != nil || out != want {
					t.Errorf("in network %s %s is %q, %v, want %q", network, name, out, err, want)
				}
			}
		}
	}
	lookup("192.0.2.1", "a.example", "big.example") // by IPv6 alone, by udp and tcp
	resolv("nameserver 127.0.0.99\nnameserver 127.0.0.53\n")
	lookup("192.0.2.53", "a.example") // the second, on loopback
	// dockerd itself.
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(in.engine.ID().PID), "-n", "-m", filepath.Join(built, "prog"), "lookup", "a.example.").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "192.0.2.53" {
		t.Errorf("in the engine's network: %q, %v", out, err)
	}

	killRelay := func() { t.Helper(); in.kill(in.companion(relay)) }
	killRelay()
	in.eventually("names are found after the relay was killed", func() error {
		out, err := in.try("run", "--rm", "app", "lookup", "a.example.")
		if err != nil {
			return errors.New(out)
		}
		return nil
	})
	in.engine.Release()
	killRelay()
	in.has(in.cfg.Adopt(t.Context()))
	lookup("192.0.2.53", "b.example")
	in.engine.Release()
	must(t, os.Remove(in.cfg.Paths.EngineFile()))
	in.has(in.cfg.Adopt(t.Context()))
	lookup("192.0.2.53", "c.example")
}

// Rules that fail at an engine's start and are set later do not lead to where its name server does not
// listen. Nor do they for an engine of an earlier version, which had none for it.
func TestNameServerWithoutRules(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	nameServer{"127.0.0.1", "192.0.2.1"}.serve(t)
	must(t, os.WriteFile(hostResolvConf, []byte("nameserver 127.0.0.1\n"), 0o644))
	iptables, err := programs.Find("iptables")
	must(t, err)
	dir, path := t.TempDir(), os.Getenv("PATH")
	must(t, os.Symlink(iptables, filepath.Join(dir, "iptables")))
	must(t, os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte("#!/bin/sh\nexit 1\n"), 0o755))
	t.Setenv("PATH", dir+":"+path)
	in := newInstance(t)
	in.start()
	in.importImage()
	t.Setenv("PATH", path)
	in.engine.Release()
	in.has(in.cfg.Adopt(t.Context()))
	in.eventually("the rules are set", func() error {
		out, err := in.inside("--net", iptables, "--table", "nat", "--list", "DOCKER-RD-HOST", "--numeric").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "DNAT") {
			return fmt.Errorf("%s, %w", out, err)
		}
		return nil
	})
	if out, err := in.try("run", "--rm", "app", "lookup", "a.example."); err != nil || out != "192.0.2.1" {
		t.Errorf("a name is %q, %v", out, err)
	}
}

// Containers may be name servers, too.
func TestPort53(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	in := newInstance(t)
	in.start()
	in.importImage()
	if !rootless {
		in.docker("run", "-d", "--name", "web", "--hostname", "web", "-p", "53:53/udp", "-p", "53:53", "app", "serve", "53")
		if got := greeting(t, "127.0.0.1:53"); got != "hello from web\n" {
			t.Errorf("a published port 53: %q", got)
		}
		in.docker("rm", "-f", "web")
	}
	in.docker("run", "-d", "--name", "dns", "--network", "host", "app", "serve", "53")
	in.eventually("a container in the engine's network serves port 53", func() error {
		out, err := in.try("run", "--rm", "--network", "host", "app", "dial", "127.0.0.1:53")
		if err != nil || !strings.HasPrefix(out, "hello") {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
}

func TestOutboundIPv6(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	greet(t, "["+hostIPv6+"]:8100", "by IPv6")
	in := newInstance(t)
	in.start()
	in.importImage()
	reached := func(args ...string) {
		t.Helper()
		in.eventually("the host is reached by IPv6", func() error {
			if out, err := in.dialed("["+hostIPv6+"]:8100", args...); err != nil || out != "by IPv6" {
				return fmt.Errorf("%q, %w", out, err)
			}
			return nil
		})
	}
	reached("--network", "host")
	in.kill(in.find("slirp4netns"))
	reached("--network", "host")
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	// As docker has it for containers, where the user wants it.
	in.cfg.Settings.EngineArgs = []string{"--experimental", "--ip6tables", "--ipv6", "--fixed-cidr-v6", "fd12:3456::/64"}
	in.start()
	reached()

	// slirp4netns has one network for IPv6, which this host uses.
	if !namespaces.HostIPv6() {
		t.Error("the host has no IPv6")
	}
	ip(t, "address add fd00::1/64 dev h0 nodad")
	if namespaces.HostIPv6() {
		t.Error("fd00::/64 would be shared")
	}
	ip(t, "address del fd00::1/64 dev h0")
	ip(t, "-6 route del default")
	if namespaces.HostIPv6() {
		t.Error("the host has no way out by IPv6")
	}
}

// Containers see who really connects.
func TestClientAddress(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	ip(t, "netns add client")
	t.Cleanup(func() { ip(t, "netns del client") })
	ip(t, "link add c0 type veth peer name c1 netns client")
	ip(t, "address add 198.51.100.1/24 dev c0")
	ip(t, "address add 2001:db8:2::1/64 dev c0 nodad")
	ip(t, "link set c0 up")
	for _, args := range []string{"address add " + clientIP + "/24 dev c1", "address add " + clientIP6 + "/64 dev c1 nodad",
		"link set c1 up", "route add default via 198.51.100.1", "route add default via 2001:db8:2::1"} {
		ip(t, "-n client "+args)
	}
	client := func(verb, addr string) string {
		out, err := exec.Command("ip", "netns", "exec", "client", filepath.Join(built, "prog"), verb, addr).CombinedOutput()
		if err != nil {
			return fmt.Sprintf("%s: %v", out, err)
		}
		return strings.TrimSpace(string(out))
	}
	in := newInstance(t)
	in.cfg.Settings.EngineArgs = []string{"--experimental", "--ip6tables"}
	in.start()
	in.importImage()
	in.docker("network", "create", "mine")
	in.docker("network", "create", "--ipv6", "--subnet", "fd12:3456::/64", "six")
	for i, network := range []string{"bridge", "mine", "six"} {
		port := fmt.Sprint(8200 + i)
		in.docker("run", "-d", "--network", network, "-p", port+":80", "-p", port+":80/udp", "app", "who", "80")
		who := func(verb, addr, want string) {
			t.Helper()
			in.eventually("the container answers", func() error {
				out := client(verb, net.JoinHostPort(addr, port))
				got, err := netip.ParseAddrPort(out)
				if err != nil {
					return fmt.Errorf("%q: %w", out, err)
				}
				if got.Addr().Unmap().String() != want {
					t.Errorf("network %s, %s to %s: the container sees %q, want %s", network, verb, addr, out, want)
				}
				return nil
			})
		}
		who("dial", hostIP, clientIP)
		who("datagram", hostIP, clientIP)
		if network == "six" {
			who("dial", hostIPv6, clientIP6)
			who("datagram", hostIPv6, clientIP6)
		}
		// The host itself is seen by its address too, and on its loopback as somebody.
		for addr, want := range map[string]string{hostIP: hostIP, "127.0.0.1": ""} {
			out, err := exec.Command(filepath.Join(built, "prog"), "dial", net.JoinHostPort(addr, port)).CombinedOutput()
			got, parseErr := netip.ParseAddrPort(strings.TrimSpace(string(out)))
			if err != nil || parseErr != nil || want != "" && got.Addr().Unmap().String() != want {
				t.Errorf("network %s, from the host to %s: %q, %v, want %s", network, addr, out, err, want)
			}
		}
	}
}

// What serves an engine from outside uses what it is given, and ends with the engine, also
// in the middle of a connection, and when it does not run at all.
func TestCompanionsEnd(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	l, err := net.Listen("tcp", hostIP+":8100")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	connected := make(chan struct{}) // closed when data flows
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				buf := make([]byte, 1<<16)
				for n := 0; ; n++ {
					if _, err := c.Write(buf); err != nil {
						return
					}
					if n == 100 {
						close(connected)
					}
				}
			}()
		}
	}()
	in := newInstance(t)
	in.start()
	in.importImage()
	slirpID, relayID := in.companion(slirp), in.companion(relay)
	for _, id := range []int{slirpID.PID, relayID.PID} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", id))
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max data size 1073741824 1073741824") {
			t.Errorf("limits of a companion: %v\n%s", err, limits)
		}
	}
	in.docker("run", "-d", "--name", "busy", "app", "dial", hostIP+":8100")
	<-connected
	watching, end := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() { in.engine.watchUse(watching, slirp.name, slirpID, 100*time.Millisecond, 0.01) })
	in.eventually("it is said that slirp4netns is busy", func() error {
		if list, _ := in.engine.Problems(); len(list) != 1 || !strings.HasPrefix(list[0].Words, "slirp4netns is busy") {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
	end()
	watcher.Wait()
	in.engine.Release()
	for _, p := range in.scan().Procs {
		if p.ID != slirpID && p.ID != relayID {
			_ = p.ID.Signal(syscall.SIGKILL)
		}
	}
	if err := errors.Join(slirpID.Wait(t.Context()), relayID.Wait(t.Context())); err != nil {
		t.Fatal(err)
	}

	in.start()
	slirpID, relayID = in.companion(slirp), in.companion(relay)
	must(t, errors.Join(slirpID.Signal(syscall.SIGSTOP), relayID.Signal(syscall.SIGSTOP)))
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if slirpID.Alive() || relayID.Alive() {
		t.Error("a companion that was stopped is left")
	}
}

// A network of the host that collides with an engine's leaves the engine able to start.
func TestHostTakesSubnets(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	in := newInstance(t)
	in.start()
	in.importImage()
	in.docker("network", "create", "mine")
	in.docker("network", "create", "--subnet", "10.241.0.0/16", "theirs")
	in.docker("run", "-d", "--name", "web", "--network", "mine", "--restart", "always", "app", "sleep")
	mine := in.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "mine")
	ip(t, "route add 172.17.0.0/16 dev h0")
	ip(t, "route add 10.240.2.0/24 dev h0")
	check := func(when string) {
		t.Helper()
		for _, network := range []string{"bridge", "mine", "theirs"} {
			subnet := in.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", network)
			if network == "bridge" && subnet == "172.17.0.0/16" || network == "mine" && subnet != mine {
				t.Errorf("%s: network %s has %s", when, network, subnet)
			}
		}
		in.eventually("the container runs", func() error {
			if state := in.docker("inspect", "-f", "{{.State.Status}}", "web"); state != "running" {
				return errors.New(state)
			}
			return nil
		})
	}
	in.kill(in.engine.ID())
	in.start()
	check("after a crash")
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.start()
	check("after a stop")
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.cfg.Settings.EngineArgs = []string{"--bip", "10.241.0.1/24"}
	_, err := in.cfg.Start(t.Context())
	if want := `the bridge's network "10.241.0.1/24" (bip) overlaps 10.241.0.0/16 of the engine's network "theirs"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start = %v, want %s", err, want)
	}
}

// Ports of the host's loopback that the user names are the engine's too, and no others.
func TestLocalhost(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	greet(t, "127.0.0.1:5000", "the registry")
	greet(t, "[::1]:3128", "the proxy")
	greet(t, "127.0.0.1:5432", "the database")
	greet(t, hostIP+":5000", "another registry")
	in := newInstance(t)
	in.cfg.Settings.Localhost = []uint16{5000, 3128}
	in.start()
	in.importImage()
	const name = "host.docker.internal"
	in.docker("network", "create", "mine")
	check := func() {
		t.Helper()
		for _, tc := range []struct{ network, addr, want string }{
			{"host", "127.0.0.1:5000", "the registry"},
			{"host", "[::1]:5000", "the registry"},
			{"host", "localhost:3128", "the proxy"},
			{"host", "127.0.0.1:5432", ""},
			{"host", name + ":5000", "the registry"},
			{"bridge", name + ":5000", "the registry"},
			{"mine", name + ":3128", "the proxy"},
			{"mine", name + ":5432", ""},
			{"mine", hostIP + ":5000", "another registry"},
		} {
			out, err := in.dialed(tc.addr, "--network", tc.network, "--add-host", name+":host-gateway")
			if tc.want == "" && err == nil || tc.want != "" && (err != nil || out != tc.want) {
				t.Errorf("from network %s, %s: %q, %v, want %q", tc.network, tc.addr, out, err, tc.want)
			}
		}
	}
	check()
	in.engine.Release()
	in.kill(in.companion(relay))
	in.cfg.Settings.Localhost = nil // for the next start
	in.has(in.cfg.Adopt(t.Context()))
	check()
}

// What does not work of an engine that answers is said, as long as it is so.
func TestProblems(t *testing.T) {
	if !playHost(t) {
		return
	}
	playNetwork(t)
	in := newInstance(t)
	in.start()
	problem := func(want string) {
		t.Helper()
		list, changed := in.engine.Problems()
		for len(list) > 0 != (want != "") || want != "" && !strings.Contains(list[0].Words, want) {
			select {
			case <-changed:
			case <-time.After(time.Minute):
				t.Fatalf("the problems are %v, want %q", list, want)
			}
			list, changed = in.engine.Problems()
		}
	}
	problem("")
	path, err := exec.LookPath("slirp4netns")
	must(t, err)
	broken := filepath.Join(filepath.Dir(in.cfg.Paths.State), "slirp4netns")
	must(t, os.WriteFile(broken, []byte("#!/bin/sh\necho it is broken >&2\nexit 1\n"), 0o755))
	must(t, syscall.Mount(broken, path, "", syscall.MS_BIND, ""))
	in.kill(in.find("slirp4netns"))
	problem("the engine reaches nothing outside: slirp4netns: it is broken")
	must(t, syscall.Unmount(path, 0))
	problem("")
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	must(t, syscall.Mount("", "/", "", syscall.MS_PRIVATE, ""))
	in.start()
	problem("the host's / is mounted private")
}
