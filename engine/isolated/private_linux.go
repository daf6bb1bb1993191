package isolated

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// Names in the directory of the engine's private versions of shared paths.
const (
	etcDocker     = "etc-docker"     // /etc/docker: key.json is the engine's identity
	runDocker     = "run-docker"     // /run/docker, ends with the engine
	runContainerd = "run-containerd" // /run/containerd, ends with the engine
	optContainerd = "opt-containerd" // /opt/containerd
	resolvConf    = "resolv.conf"    // /etc/resolv.conf
	daemonJSON    = "daemon.json"    // the configuration dockerd reads
	staging       = "staging"        // empty
	// The program that serves ports, which may be docker-rd itself: a file over which that is mounted.
	// So the engine keeps the program that it was started with, even if docker-rd is moved or replaced.
	proxyPlace = portproxy.Name
	xdgConfig  = "xdg-config" // ~/.config, for an ordinary user's dockerd
	portsDir   = "ports"      // a file for each published port, see [portproxy.PortsEnv]
)

// hostDirs are directories that dockerd gets a private version of. On a host without docker
// they must be made, as mount points.
var hostDirs = []string{"/etc/docker", "/opt/containerd"}

// link makes or changes the symbolic link at path.
func link(target, path string) error {
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	if err := removeFile(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

func (c *Config) private(name string) string {
	return filepath.Join(c.Paths.EngineState(), "private", name)
}

// writeResolvConf makes the engine's resolv.conf from the host's.
func (c *Config) writeResolvConf(net namespaces.Subnets) error {
	host, err := os.ReadFile(hostResolvConf)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data := privateResolvConf(string(host), net.DNS())
	if now, err := os.ReadFile(c.private(resolvConf)); err == nil && bytes.Equal(now, data) {
		return nil
	}
	return os.WriteFile(c.private(resolvConf), data, 0o644) // in place: it may be mounted
}

// privateResolvConf is the host's resolv.conf with the engine's own name server. It asks the
// host's, which may listen where only the host's namespace reaches them.
func privateResolvConf(host string, dns netip.Addr) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "nameserver %s\n", dns)
	for line := range strings.Lines(host) {
		fields := strings.Fields(line)
		if len(fields) > 1 && slices.Contains([]string{"search", "domain", "options"}, fields[0]) {
			b.WriteString(strings.Join(fields, " ") + "\n")
		}
	}
	return []byte(b.String())
}

// certificates is the directory of the registries' certificates. A user's own is preferred, as
// under RootlessKit.
func (c *Config) certificates() string {
	if base, err := os.UserConfigDir(); err == nil && c.rootless() {
		if own := filepath.Join(base, "docker", "certs.d"); files.Exists(own) {
			return own
		}
	}
	return "/etc/docker/certs.d"
}

// binds are the private versions of paths that all daemons of a machine share.
func (c *Config) binds() []namespaces.Bind {
	return append(c.program().binds, []namespaces.Bind{
		// dockerd uses the host's containerd if its socket is here, and shims put theirs
		// here whatever the exec-root. A directory of the host: with live-restore it must
		// outlive the engine.
		{Source: c.private(runContainerd), Target: "/run/containerd"},
		// containerd makes directories there that nobody needs.
		{Source: c.private(optContainerd), Target: "/opt/containerd", Optional: true},
		{Source: c.private(resolvConf), Target: hostResolvConf, Optional: true},
		{Source: c.Proxy, Target: c.private(proxyPlace)},
	}...)
}

// run is the engine's own /run.
func (c *Config) run() *namespaces.Run {
	var own []string
	for _, dir := range []string{c.Paths.Exec(), filepath.Dir(c.Socket()), c.Paths.EngineState(), c.Paths.Data, c.Paths.LogDir(), filepath.Dir(c.Proxy)} {
		if real, err := filepath.EvalSymlinks(dir); err == nil { // such as /var/run
			own = append(own, real)
		}
	}
	return &namespaces.Run{
		// The lock of iptables protects rules, and the engine has its own.
		Hide:    append([]string{filepath.Base(dockerSock), "docker/", "containerd/", "docker.pid", "xtables.lock"}, c.program().hide...),
		Own:     own,
		Staging: c.private(staging),
	}
}

// sysctls are the settings that an engine needs.
func (c *Config) sysctls(user *daemonOptions) []namespaces.Sysctl {
	all := []namespaces.Sysctl{
		// dockerd 28 and later binds published addresses itself, and those of the host are
		// none of this namespace.
		{Name: "net/ipv4/ip_nonlocal_bind", Value: "1"},
		{Name: "net/ipv6/ip_nonlocal_bind", Value: "1"},
	}
	if user.nftables() {
		// With iptables dockerd sees to it; with nftables it asks that the host forwards,
		// which this namespace does not learn from it.
		all = append(all, namespaces.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"},
			namespaces.Sysctl{Name: "net/ipv6/conf/all/forwarding", Value: "1"}, namespaces.Sysctl{Name: "net/ipv6/conf/default/forwarding", Value: "1"})
	}
	if ports, ok := namespaces.LocalPorts(c.UID); ok {
		all = append(all, ports)
	}
	return all
}
