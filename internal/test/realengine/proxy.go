package realengine

import (
	"io"
	"net"
	"sync"
)

// Proxy passes connections on to an engine's socket, until it is told to cut them or
// to let nothing through.
type Proxy struct {
	// Socket is where it listens.
	Socket string

	target   string
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	gate  chan struct{} // closed while data may pass
}

// NewProxy listens on a socket for an engine at another.
func NewProxy(socket, target string) (*Proxy, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	p := &Proxy{Socket: socket, target: target, listener: l, conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	p.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.serve(c) })
		}
	})
	return p, nil
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	engine, err := net.Dial("unix", p.target)
	if err != nil {
		return
	}
	defer engine.Close()
	p.mu.Lock()
	p.conns[client], p.conns[engine] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, engine)
	}()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, gated{p, from})
		if c, ok := to.(*net.UnixConn); ok {
			_ = c.CloseWrite()
		}
	}
	both.Go(func() { pass(engine, client) })
	both.Go(func() { pass(client, engine) })
	both.Wait()
}

// gated reads only while the gate is open.
type gated struct {
	p *Proxy
	net.Conn
}

func (g gated) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.p.mu.Lock()
	gate := g.p.gate
	g.p.mu.Unlock()
	<-gate
	return n, err
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Stall lets nothing through until Resume, and breaks nothing.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

// Resume ends a Stall.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// Close stops listening and breaks all connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.Resume()
	p.Cut()
	p.serving.Wait()
	return err
}
