package portproxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A Proxy listens, and serves once Run is called.
type proxy struct {
	cfg       config
	families  string // see [ClientAddrEnv]
	listeners []net.Listener
	conns     []*net.UDPConn
}

// newProxy opens the listeners in the host's network namespace, through the broker's socket, and in
// that of the calling process. ListenFD is this namespace's listener, if dockerd has made it, or nil;
// the caller closes it.
//
// The first error is the same as docker's: a port that is taken on the host is EADDRINUSE with its
// address.
func newProxy(cfg config, broker string, listenFD *os.File) (*proxy, error) {
	p := &proxy{cfg: cfg}
	err := p.listen(borrow(broker, cfg.network(), cfg.Host.String()))
	// dockerd publishes on :: whenever its own namespace has IPv6, even if the host has none.
	if err != nil && !(cfg.Host.Addr() == netip.IPv6Unspecified() && absent(err)) {
		return nil, err
	}
	switch {
	case listenFD != nil:
		err = p.adopt(listenFD)
	case cfg.Owner != "": // which has rules for that namespace
		err = nil
	default:
		err = p.listen(Open(cfg.network(), cfg.Host.String()))
		// The engine's namespace usually lacks the host's address. Containers reach that like
		// any other host.
		if absent(err) {
			err = nil
		}
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// absent reports whether err says that the network namespace lacks the address.
func absent(err error) bool {
	return errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT)
}

// listen uses a listener that was opened for it, unless that failed.
func (p *proxy) listen(file *os.File, err error) error {
	if err != nil {
		return err
	}
	defer file.Close()
	return p.adopt(file)
}

// adopt uses an open listener. The caller closes the file.
func (p *proxy) adopt(file *os.File) error {
	if p.cfg.Proto == "tcp" {
		// It may be bound only; listening again to one that listens does no harm.
		if err := unix.Listen(int(file.Fd()), unix.SOMAXCONN); err != nil {
			return os.NewSyscallError("listen", err)
		}
		l, err := net.FileListener(file)
		if err != nil {
			return err
		}
		if _, ok := l.(*net.TCPListener); !ok {
			_ = l.Close()
			return errors.New("the file is no tcp listener")
		}
		p.listeners = append(p.listeners, l)
		return nil
	}
	c, err := net.FilePacketConn(file)
	if err != nil {
		return err
	}
	conn, ok := c.(*net.UDPConn)
	if !ok {
		_ = c.Close()
		return errors.New("the file is no udp socket")
	}
	if err := askLocalAddr(conn, p.cfg.Host.Addr().Is6()); err != nil {
		_ = conn.Close()
		return err
	}
	p.conns = append(p.conns, conn)
	return nil
}

// Run serves until Close.
func (p *proxy) Run() {
	var all sync.WaitGroup
	d := newDialer(p.cfg.Container, p.families)
	for _, l := range p.listeners {
		all.Go(func() { serveTCP(l, d.dialTCP) })
	}
	for _, c := range p.conns {
		all.Go(newUDPServer(c, d, sessionTimeout).serve)
	}
	all.Wait()
}

// Close closes the listeners. Connections that are open go on until they end.
func (p *proxy) Close() {
	for _, l := range p.listeners {
		_ = l.Close()
	}
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// serveProxy is the whole program: it reads the arguments, listens, answers on status, and serves
// until stop gets a value. The answer is docker-proxy's: "0\n", or "1\n" and the error. It returns
// the exit status.
func serveProxy(args []string, status io.WriteCloser, stop <-chan os.Signal) int {
	p, err := start(args)
	var forget func()
	if err == nil {
		forget, err = p.cfg.announce(os.Getenv(PortsEnv))
	}
	if err != nil {
		_, _ = io.WriteString(status, "1\n"+err.Error())
		return 1
	}
	defer forget()
	_, _ = io.WriteString(status, "0\n")
	_ = status.Close()
	p.families = os.Getenv(ClientAddrEnv)
	go p.Run()
	<-stop
	p.Close()
	return 0
}

func start(args []string) (*proxy, error) {
	cfg, err := parseArgs(args)
	if err != nil {
		return nil, err
	}
	var listener *os.File
	if cfg.UseListenFD {
		unix.CloseOnExec(listenFD)
		listener = os.NewFile(listenFD, "listener")
		defer listener.Close()
	}
	return newProxy(cfg, os.Getenv(BrokerEnv), listener)
}
