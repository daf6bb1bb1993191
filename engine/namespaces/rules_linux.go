package namespaces

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/programs"
)

// Rules are packet filter rules of an engine's network namespace, in chains of our own.
type Rules struct {
	// IPTables and IP6Tables are the paths of the programs, or "".
	IPTables, IP6Tables string

	// Gateway is the address of host-gateway. It leads to Host, the host's own current address,
	// or zero if it has none.
	Gateway, Host netip.Addr

	// Localhost are ports of the host's loopback. They are served at Local, an address of the
	// namespace.
	Local     netip.Addr
	Localhost []uint16

	// Update says that the rules exist and only Host has changed.
	Update bool
}

// FindRules returns rules without addresses, with the paths of the programs.
func FindRules() *Rules {
	r := &Rules{}
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
// client's address.
func clientRules() string {
	return fmt.Sprintf(`*mangle
:%[1]s - [0:0]
:%[2]s - [0:0]
-A %[1]s -m addrtype ! --src-type LOCAL -j CONNMARK --set-mark %[3]d
-A %[2]s -m connmark --mark %[3]d -j MARK --set-mark %[3]d
-A OUTPUT -j %[1]s
-A PREROUTING -j %[2]s
COMMIT
`, clientOut, clientIn, clientMark)
}

// hostRules make the gateway's address lead to the host's own.
func (r *Rules) hostRules() string {
	var b strings.Builder
	fmt.Fprintf(&b, "*nat\n:%s - [0:0]\n", hostChain)
	for _, port := range r.Localhost {
		fmt.Fprintf(&b, "-A %s -d %s -p tcp --dport %d -j DNAT --to-destination %s\n", hostChain, r.Gateway, port, r.Local)
	}
	if r.Host.IsValid() {
		fmt.Fprintf(&b, "-A %s -d %s -j DNAT --to-destination %s\n", hostChain, r.Gateway, r.Host)
	}
	if !r.Update {
		fmt.Fprintf(&b, "-A PREROUTING -j %[1]s\n-A OUTPUT -j %[1]s\n", hostChain)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// A ruling is rules that are being set.
type ruling struct {
	host, client4, client6 func() error // wait for the end
}

// set begins to set the rules in the network namespace of the calling thread.
func (r *Rules) set() *ruling {
	if r.Update {
		return &ruling{host: restore(r.IPTables, r.hostRules())}
	}
	// Namespaces that are entered again have rules already.
	if r.IPTables != "" && exec.Command(r.IPTables, "--wait", "--table", "nat", "--list", hostChain, "--numeric").Run() == nil {
		update := *r
		update.Update = true
		s := &ruling{host: restore(r.IPTables, update.hostRules())}
		s.client4 = check(r.IPTables)
		s.client6 = check(r.IP6Tables)
		return s
	}
	return &ruling{
		host:    restore(r.IPTables, r.hostRules()),
		client4: clients(r.IPTables, unix.AF_INET),
		client6: clients(r.IP6Tables, unix.AF_INET6),
	}
}

// wait waits until the rules are set. It returns the address families for which answers to
// clients' addresses come back. An engine works without the rules, except for their purpose.
func (s *ruling) wait() (families string, err error) {
	var errs []error
	if err := s.host(); err != nil {
		errs = append(errs, fmt.Errorf("the host's address: %w", err))
	}
	if s.client4 == nil {
		return "", errors.Join(errs...)
	}
	if err := s.client4(); err == nil {
		families = "4"
	} else {
		errs = append(errs, fmt.Errorf("clients' addresses: %w", err))
	}
	// A host without IPv6 lacks the tables too.
	if s.client6() == nil {
		families += "6"
	}
	return families, errors.Join(errs...)
}

// clients begins to set the rules for clients' addresses of a family.
func clients(program string, family int) (wait func() error) {
	restored := restore(program, clientRules())
	err := deliverMarked(family, clientMark)
	return func() error { return errors.Join(restored(), err) }
}

// check begins to check that the rules for clients' addresses exist.
func check(program string) (wait func() error) {
	if program == "" {
		return func() error { return exec.ErrNotFound }
	}
	return run(exec.Command(program, "--wait", "--table", "mangle", "--list", clientIn, "--numeric"))
}

// restore begins to add rules in the format of iptables-save.
func restore(program, rules string) (wait func() error) {
	if program == "" {
		return func() error { return exec.ErrNotFound }
	}
	cmd := exec.Command(program+"-restore", "--noflush", "--wait")
	cmd.Stdin = strings.NewReader(rules)
	return run(cmd)
}

func run(cmd *exec.Cmd) (wait func() error) {
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
