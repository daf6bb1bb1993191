package portproxy

import (
	"os"
	"os/signal"
	"syscall"
)

// What dockerd passes to its proxy (moby, cmd/docker-proxy/main_linux.go).
const (
	statusFD = 3
	listenFD = 4
)

// Program is the whole process of a proxy: it reads the arguments and files that dockerd
// gave to it, serves until it is told to stop, and ends the process.
func Program() {
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
