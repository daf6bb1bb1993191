package portproxy

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/dnsrelay"
	"github.com/docker-rd/docker-rd/internal/rootlessrunc"
)

// What dockerd passes to its proxy (moby, cmd/docker-proxy/main_linux.go).
const (
	statusFD = 3
	listenFD = 4
)

// RelayArg is the first argument of the relay, which serves an engine from the host's network
// namespace. Its files are the read end of the exit pipe, at whose end the relay ends, the udp and
// tcp sockets for name queries, and as many listeners as the second argument says: those of
// [ListenBroker] and [ListenAPI], and of ports that lead to the same ports of the host's loopback.
//
// What starts it may be of an earlier build: the supervisor stays the old program after an upgrade,
// and an engine that it starts again has the program that is there then.
const RelayArg = "__relay"

// resolvConf lists the host's name servers.
const resolvConf = "/etc/resolv.conf"

// IsProgram reports whether a process with this name is a [Program].
func IsProgram(name string) bool {
	return slices.Contains([]string{Name, PluginName, rootlessrunc.Name}, filepath.Base(name))
}

// Program is the program of a proxy: it reads the arguments and files from dockerd, serves until it
// is told to stop, and exits. With [RelayArg] it is an engine's relay, under the name [PluginName]
// the plugin, and under that of package rootlessrunc runc.
func Program() {
	switch filepath.Base(os.Args[0]) {
	case PluginName:
		pluginProgram(os.Args[0])
	case rootlessrunc.Name:
		rootlessrunc.Program()
	}
	if len(os.Args) > 2 && os.Args[1] == RelayArg {
		if err := relay(os.Args[2]); err != nil {
			_, _ = os.Stderr.WriteString(Name + ": relay: " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	// If it is run by hand, the number may be a file of the Go runtime.
	var st syscall.Stat_t
	if err := syscall.Fstat(statusFD, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		_, _ = os.Stderr.WriteString(Name + " is run by dockerd for each published port\n")
		os.Exit(125)
	}
	syscall.CloseOnExec(statusFD)
	stop := make(chan os.Signal, 1)
	// dockerd stops a proxy with SIGINT and waits for its exit status. When dockerd
	// itself dies, the kernel sends SIGTERM.
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	os.Exit(serveProxy(os.Args[1:], os.NewFile(statusFD, "status"), stop))
}

// relay is the program of the relay.
func relay(listeners string) error {
	const exitFD, udpFD, tcpFD, firstFD = 3, 4, 5, 6
	n, err := strconv.Atoi(listeners)
	if err != nil {
		return err
	}
	udp, err := net.FilePacketConn(os.NewFile(udpFD, "udp"))
	if err != nil {
		return err
	}
	tcp, err := net.FileListener(os.NewFile(tcpFD, "tcp"))
	if err != nil {
		return err
	}
	for i := range n {
		l, err := net.FileListener(os.NewFile(uintptr(firstFD+i), "listener"))
		if err != nil {
			return err
		}
		switch l.Addr().Network() {
		case lending:
			go accept(l, lend)
		case api:
			go accept(l, answerAPI)
		default:
			go serveLoopback(l)
		}
	}
	go dnsrelay.New(resolvConf).Serve(udp, tcp)
	_, _ = io.Copy(io.Discard, os.NewFile(exitFD, "exit"))
	return nil
}

// serveLoopback joins connections with the same port of the loopback.
func serveLoopback(l net.Listener) {
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	serveTCP(l, func(netip.AddrPort) (net.Conn, error) {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), dialTimeout)
		if err != nil {
			conn, err = net.DialTimeout("tcp", net.JoinHostPort("::1", port), dialTimeout)
		}
		return conn, err
	})
}
