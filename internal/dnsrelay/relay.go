// Package dnsrelay forwards DNS queries to the name servers of the host.
//
// An engine has one name server in its own network namespace. Its sockets were opened there, but
// a process in the host's namespace serves them. So queries reach all current name servers of the
// host, also those that only the host can reach (127.0.0.53, ::1). Messages are forwarded
// unchanged; nothing is cached.
package dnsrelay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Port is the port of name servers.
	Port = 53

	// patience is how long a name server may be silent before the next one is asked too.
	patience = time.Second
	// timeout bounds a query. Clients retry or give up after 5 seconds.
	timeout = 5 * time.Second
	// memory is how long a silent name server is asked last.
	memory = 30 * time.Second

	// maxQueries bounds the open UDP queries, and the open TCP connections.
	maxQueries = 256
	// idle is how long a TCP connection may be idle.
	idle = 30 * time.Second

	maxMessage = 65535
)

// Relay forwards queries.
type Relay struct {
	resolvConf string
	port       uint16

	mu     sync.Mutex
	silent map[netip.Addr]time.Time // since when
}

// New returns a relay to the name servers in the file resolvConf, which is read for each query.
func New(resolvConf string) *Relay {
	return &Relay{resolvConf: resolvConf, port: Port, silent: map[netip.Addr]time.Time{}}
}

// Serve answers queries on the two sockets until both are closed, and then the open ones.
func (r *Relay) Serve(udp net.PacketConn, tcp net.Listener) {
	var both sync.WaitGroup
	both.Go(func() { r.serveUDP(udp) })
	both.Go(func() { r.serveTCP(tcp) })
	both.Wait()
}

// pause keeps a failing socket from using a whole processor.
func pause() { time.Sleep(10 * time.Millisecond) }

func (r *Relay) serveUDP(conn net.PacketConn) {
	var queries sync.WaitGroup
	defer queries.Wait()
	slots := make(chan struct{}, maxQueries)
	buf := make([]byte, maxMessage)
	for {
		n, client, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause()
			continue
		}
		if n < headerSize {
			continue
		}
		query := slices.Clone(buf[:n])
		slots <- struct{}{}
		queries.Go(func() {
			defer func() { <-slots }()
			_, _ = conn.WriteTo(r.ask(query), client)
		})
	}
}

// A DNS message begins with an id of 2 bytes and 2 bytes of flags (RFC 1035, 4.1.1).
const headerSize = 12

// answers reports whether a message is the answer to a query.
func answers(message, query []byte) bool {
	return len(message) >= headerSize && message[0] == query[0] && message[1] == query[1] && message[2]&0x80 != 0
}

// helps reports whether an answer is final. After a server failure, "not implemented" or "refused"
// resolvers ask the next name server.
func helps(answer []byte) bool {
	code := answer[3] & 0xf
	return code != 2 && code != 4 && code != 5
}

// failure answers a query that no server has answered: a client would wait, and ask again.
func failure(query []byte) []byte {
	answer := slices.Clone(query)
	answer[2] |= 0x80              // it is an answer,
	answer[3] = answer[3]&^0xf | 2 // a server failure
	return answer
}

// ask returns the answer to a query. It asks the servers in order, the next one as soon as one fails
// or is silent for a while.
func (r *Relay) ask(query []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	servers := r.servers()
	type result struct {
		server netip.Addr
		answer []byte
	}
	results := make(chan result, len(servers))
	tick := time.NewTicker(patience)
	defer tick.Stop()
	asked, open := 0, 0
	next := func() {
		if asked == len(servers) {
			return
		}
		server := servers[asked]
		asked++
		open++
		go func() { results <- result{server, r.exchange(ctx, server, query)} }()
	}
	next()
	last := failure(query)
	for open > 0 {
		select {
		case <-tick.C:
			r.note(servers[asked-1], true)
			next()
		case got := <-results:
			open--
			if got.answer != nil {
				r.note(got.server, false)
				if last = got.answer; helps(last) {
					return last
				}
			} else if ctx.Err() == nil {
				r.note(got.server, true)
			}
			next()
		}
	}
	return last
}

// exchange asks one server and returns its answer, or nil.
func (r *Relay) exchange(ctx context.Context, server netip.Addr, query []byte) []byte {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", r.address(server))
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(query); err != nil {
		return nil
	}
	buf := make([]byte, maxMessage)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil
		}
		if answers(buf[:n], query) {
			return buf[:n]
		}
	}
}

func (r *Relay) serveTCP(l net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	slots := make(chan struct{}, maxQueries)
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			pause()
			continue
		}
		slots <- struct{}{}
		conns.Go(func() {
			defer func() { <-slots }()
			r.join(client)
		})
	}
}

// join connects a client with the first server that accepts the connection.
func (r *Relay) join(client net.Conn) {
	defer client.Close()
	for _, server := range r.servers() {
		conn, err := net.DialTimeout("tcp", r.address(server), 2*patience)
		if err != nil {
			continue
		}
		defer conn.Close()
		var both sync.WaitGroup
		both.Go(func() { pass(conn, client) })
		pass(client, conn)
		both.Wait()
		return
	}
}

// pass copies until from ends or is idle, and then closes to for writing.
func pass(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		_ = from.SetReadDeadline(time.Now().Add(idle))
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

func (r *Relay) address(server netip.Addr) string {
	return net.JoinHostPort(server.String(), strconv.Itoa(int(r.port)))
}

// note remembers whether a server was silent.
func (r *Relay) note(server netip.Addr, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if silent {
		r.silent[server] = time.Now()
	} else {
		delete(r.silent, server)
	}
}

// servers returns the name servers in the order of the file, silent ones last.
func (r *Relay) servers() []netip.Addr {
	data, err := os.ReadFile(r.resolvConf)
	if err != nil {
		data = nil // as in the C library
	}
	list := parse(string(data))
	r.mu.Lock()
	defer r.mu.Unlock()
	for server, since := range r.silent {
		if time.Since(since) > memory || !slices.Contains(list, server) {
			delete(r.silent, server)
		}
	}
	rank := func(server netip.Addr) int {
		if _, ok := r.silent[server]; ok {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	return list
}

// parse returns the name servers of a resolv.conf(5); the local one if it has none.
func parse(resolvConf string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(resolvConf) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && !slices.Contains(list, addr) {
			list = append(list, addr)
		}
	}
	if len(list) == 0 {
		list = append(list, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return list
}
