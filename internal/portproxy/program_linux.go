package portproxy

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/dnsrelay"
)

// What dockerd passes to its proxy (moby, cmd/docker-proxy/main_linux.go).
const (
	statusFD = 3
	listenFD = 4
)

// RelayArg is the only argument of the program that is the relay of an engine's name
// queries instead. Its files are those of [dnsrelay.Main], from number 3 on.
const RelayArg = "__dns"

// resolvConf lists the host's name servers.
const resolvConf = "/etc/resolv.conf"

// Program is the whole process of a proxy: it reads the arguments and files that dockerd
// gave to it, serves until it is told to stop, and ends the process.
func Program() {
	if len(os.Args) == 2 && os.Args[1] == RelayArg {
		os.Exit(dnsrelay.Main(resolvConf, os.NewFile(3, "udp"), os.NewFile(4, "tcp"), os.NewFile(5, "exit")))
	}
	// Where it is run by hand, the Go runtime may have opened a file with that number.
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
	os.Exit(Main(os.Args[1:], os.Getenv(HostNetnsEnv), os.NewFile(statusFD, "status"),
		func() *os.File { syscall.CloseOnExec(listenFD); return os.NewFile(listenFD, "listener") }, stop))
}
