// Command docker-rd-proxy serves one published port of an engine. dockerd runs it
// (--userland-proxy-path), people don't: see package portproxy.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// What dockerd passes to its proxy (moby, cmd/docker-proxy/main_linux.go).
const (
	statusFD = 3
	listenFD = 4
)

func main() {
	syscall.CloseOnExec(statusFD)
	if _, err := os.Stat("/proc/self/fd/3"); err != nil {
		_, _ = os.Stderr.WriteString("docker-rd-proxy is run by dockerd for each published port\n")
		os.Exit(125)
	}
	stop := make(chan os.Signal, 1)
	// dockerd stops a proxy with SIGINT and waits for its exit status. When dockerd
	// itself dies, the kernel sends SIGTERM.
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	os.Exit(portproxy.Main(os.Args[1:], os.Getenv(portproxy.HostNetnsEnv), os.NewFile(statusFD, "status"),
		func() *os.File { syscall.CloseOnExec(listenFD); return os.NewFile(listenFD, "listener") }, stop))
}
