// Package portproxy serves one published port of an engine with its own network namespace. dockerd
// runs it for each published port instead of docker-proxy (--userland-proxy-path), and it speaks
// the same protocol (moby, cmd/docker-proxy). For a containerd it is its own plugin of networks,
// which runs it.
//
// It is run in the engine's network namespace, where it dials the container. Clients are in
// the host's namespace: it listens there through a broker, so that a taken port fails, and also in
// the engine's, for containers that use the engine's own network ("hairpin").
//
// It imports little, since each published port has a process.
package portproxy

import (
	"errors"
	"flag"
	"io"
	"net/netip"
	"strconv"
)

// Name is the name of the program and its processes.
const Name = "docker-rd-proxy"

// BrokerEnv names the environment variable with the path of the broker's socket. dockerd passes its
// environment on.
const BrokerEnv = "DOCKER_RD_BROKER"

// config is one published port.
type config struct {
	Proto     string         // "tcp" or "udp"
	Host      netip.AddrPort // where clients connect
	Container netip.AddrPort
	// UseListenFD says that dockerd (28.0 or later) passes the listener of its own namespace as
	// file descriptor 4.
	UseListenFD bool
	// Owner is for whom the port is published, if the proxy is not dockerd's.
	Owner string
}

// parseArgs parses the arguments of dockerd's proxy.
func parseArgs(args []string) (config, error) {
	var cfg config
	var hostIP, containerIP netip.Addr
	var hostPort, containerPort uint16
	flags := flag.NewFlagSet(Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&cfg.Proto, "proto", "tcp", "")
	flags.TextVar(&hostIP, "host-ip", netip.Addr{}, "")
	flags.Func("host-port", "", parsePort(&hostPort))
	flags.TextVar(&containerIP, "container-ip", netip.Addr{}, "")
	flags.Func("container-port", "", parsePort(&containerPort))
	flags.BoolVar(&cfg.UseListenFD, "use-listen-fd", false, "")
	flags.StringVar(&cfg.Owner, "owner", "", "")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, errors.New("unexpected argument " + strconv.Quote(flags.Arg(0)))
	}
	switch cfg.Proto {
	case "tcp", "udp":
	case "sctp":
		return config{}, errors.New("publishing an sctp port is not supported by this engine: tcp and udp are")
	default:
		return config{}, errors.New("unsupported protocol " + strconv.Quote(cfg.Proto))
	}
	if !hostIP.IsValid() || !containerIP.IsValid() || hostPort == 0 || containerPort == 0 {
		return config{}, errors.New("-host-ip, -host-port, -container-ip and -container-port are needed")
	}
	cfg.Host = netip.AddrPortFrom(hostIP.Unmap(), hostPort)
	cfg.Container = netip.AddrPortFrom(containerIP.Unmap(), containerPort)
	return cfg, nil
}

// parsePort returns the parser of a flag.
func parsePort(port *uint16) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		*port = uint16(n)
		return err
	}
}

// network is the listener's network for package net. "tcp6" and "udp6" set IPV6_V6ONLY: dockerd
// starts a proxy for each address family.
func (c config) network() string {
	if c.Host.Addr().Is4() {
		return c.Proto + "4"
	}
	return c.Proto + "6"
}
