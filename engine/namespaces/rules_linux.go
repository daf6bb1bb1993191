package namespaces

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/dnsrelay"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// Rules are packet filter rules of an engine's network namespace, in chains of our own.
type Rules struct {
	// IPTables and IP6Tables are the paths of the programs, or "".
	IPTables, IP6Tables string

	// Gateway is the address of host-gateway. It leads to Host, the host's own current address,
	// or zero if it has none.
	Gateway, Host netip.Addr

	// Local is the address of the name server, and where ports of the host's loopback are served.
	Local     netip.Addr
	Localhost []uint16
}

// NewRules returns the rules of an engine with these subnets, with the paths of the programs.
func NewRules(net Subnets, host netip.Addr, localhost []uint16) *Rules {
	r := &Rules{Gateway: net.Host(), Host: host, Local: net.DNS(), Localhost: localhost}
	r.IPTables, _ = programs.Find("iptables")
	r.IP6Tables, _ = programs.Find("ip6tables")
	return r
}

const (
	// clientMark marks connections from here to a container that have a client's address as
	// their source, and the answers. It is the number of a routing table too.
	clientMark = 0x7264

	clientOut = "DOCKER-RD-CLIENTS-OUT"
	clientIn  = "DOCKER-RD-CLIENTS-IN"
	hostChain = "DOCKER-RD-HOST"
)

// clientRules deliver a container's answers to the port proxy, which connects to it from the
// client's address. They fill the chains anew; with call they also have them called.
func clientRules(call bool) string {
	var calls string
	if call {
		calls = fmt.Sprintf("-A OUTPUT -j %s\n-A PREROUTING -j %s\n", clientOut, clientIn)
	}
	return fmt.Sprintf(`*mangle
:%[1]s - [0:0]
:%[2]s - [0:0]
-A %[1]s -m addrtype ! --src-type LOCAL -j CONNMARK --set-mark %[3]d
-A %[2]s -m connmark --mark %[3]d -j MARK --set-mark %[3]d
%[4]sCOMMIT
`, clientOut, clientIn, clientMark, calls)
}

// namePort is where the name server listens if its own port leads there: a container that takes that
// port at all addresses would fail otherwise, and so would one that publishes it. The kernel chooses
// no port this high by itself.
const namePort = 65053

// hostRules make the gateway's address lead to the host's own, and the port of the name server to names.
func (r *Rules) hostRules(call bool, names uint16) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*nat\n:%s - [0:0]\n", hostChain)
	for _, protocol := range []string{"udp", "tcp"} {
		if names != dnsrelay.Port {
			fmt.Fprintf(&b, "-A %s -d %s -p %s --dport %d -j DNAT --to-destination %s:%d\n", hostChain, r.Local, protocol, dnsrelay.Port, r.Local, names)
		}
	}
	for _, port := range r.Localhost {
		fmt.Fprintf(&b, "-A %s -d %s -p tcp --dport %d -j DNAT --to-destination %s\n", hostChain, r.Gateway, port, r.Local)
	}
	if r.Host.IsValid() {
		fmt.Fprintf(&b, "-A %s -d %s -j DNAT --to-destination %s\n", hostChain, r.Gateway, r.Host)
	}
	if call {
		fmt.Fprintf(&b, "-A PREROUTING -j %[1]s\n-A OUTPUT -j %[1]s\n", hostChain)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// set begins to set the rules in the network namespace of the calling thread, for a name server that
// listens already unless it is open to choose. Wait returns when they are set, with the address families
// for which answers to clients' addresses come back, and the port of the name server. An engine works
// without the rules, except for their purpose.
func (r *Rules) set(choose bool) (wait func() (families string, names uint16, err error)) {
	names := uint16(namePort)
	if !choose && !taken(netip.AddrPortFrom(r.Local, names)) {
		names = dnsrelay.Port // the rules failed when it was started, or an earlier version has started it
	}
	// Namespaces that are entered again have the chains already.
	call := r.IPTables == "" || exec.Command(r.IPTables, "--wait", "--table", "nat", "--list", hostChain, "--numeric").Run() != nil
	host := restore(r.IPTables, r.hostRules(call, names))
	client4 := clients(r.IPTables, unix.AF_INET, call)
	client6 := clients(r.IP6Tables, unix.AF_INET6, call)
	return func() (string, uint16, error) {
		var families string
		var errs []error
		if err := host(); err != nil {
			names = dnsrelay.Port
			errs = append(errs, fmt.Errorf("the host's address: %w", err))
		}
		if err := client4(); err == nil {
			families = "4"
		} else {
			errs = append(errs, fmt.Errorf("clients' addresses: %w", err))
		}
		// A host without IPv6 lacks the tables too.
		if client6() == nil {
			families += "6"
		}
		return families, names, errors.Join(errs...)
	}
}

// taken reports whether somebody has the port, for udp.
func taken(port netip.AddrPort) bool {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(port))
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, unix.EADDRINUSE)
}

// clients begins to set the rules for clients' addresses of a family.
func clients(program string, family int, call bool) (wait func() error) {
	restored := restore(program, clientRules(call))
	err := deliverMarked(family, clientMark)
	return func() error { return errors.Join(restored(), err) }
}

// restore begins to add rules in the format of iptables-save.
func restore(program, rules string) (wait func() error) {
	if program == "" {
		return func() error { return exec.ErrNotFound }
	}
	cmd := exec.Command(program+"-restore", "--noflush", "--wait")
	cmd.Stdin = strings.NewReader(rules)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "PATH="+programs.SearchPath())
	if err := cmd.Start(); err != nil {
		return func() error { return err }
	}
	return func() error {
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s", cmd.Path, err, bytes.TrimSpace(out.Bytes()))
		}
		return nil
	}
}
