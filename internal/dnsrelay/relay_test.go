package dnsrelay

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A server is a name server of a test: it answers each query with its own name after the
// header, and the response code.
type server struct {
	addr  string
	code  byte
	asked chan []byte
	udp   net.PacketConn
	tcp   net.Listener
}

// serve starts a name server at an address of this machine. It answers nothing where mute.
func serve(t *testing.T, addr string, port int, code byte, mute bool) *server {
	t.Helper()
	at := net.JoinHostPort(addr, strconv.Itoa(port))
	s := &server{addr: addr, code: code, asked: make(chan []byte, 100)}
	var err error
	if s.udp, err = net.ListenPacket("udp", at); err != nil {
		t.Fatal(err)
	}
	if s.tcp, err = net.Listen("tcp", at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	go func() {
		buf := make([]byte, maxMessage)
		for {
			n, client, err := s.udp.ReadFrom(buf)
			if err != nil {
				return
			}
			s.asked <- slices.Clone(buf[:n])
			if !mute {
				_, _ = s.udp.WriteTo([]byte("an answer to another query"), client)
				_, _ = s.udp.WriteTo(s.answer(buf[:n]), client)
			}
		}
	}()
	go func() {
		for {
			c, err := s.tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				query, err := readTCP(c)
				if err == nil && !mute {
					writeTCP(c, s.answer(query))
				}
			}()
		}
	}()
	return s
}

func (s *server) close() {
	_ = s.udp.Close()
	_ = s.tcp.Close()
}

func (s *server) answer(query []byte) []byte {
	a := append(slices.Clone(query[:headerSize]), s.addr...)
	a[2] |= 0x80
	a[3] = s.code
	return a
}

func readTCP(c net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(c, message)
	return message, err
}

func writeTCP(c net.Conn, message []byte) {
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...))
}

// A client asks a relay.
type client struct {
	t    *testing.T
	udp  net.Conn
	tcp  string
	file string
	id   uint16
}

// start starts a relay to name servers at the port. No server needs to be there.
func start(t *testing.T, port int, resolvConf string) *client {
	t.Helper()
	c := &client{t: t, file: filepath.Join(t.TempDir(), "resolv.conf")}
	c.write(resolvConf)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := New(c.file)
	r.port = uint16(port)
	done := make(chan struct{})
	go func() { r.Serve(udp, tcp); close(done) }()
	if c.udp, err = net.Dial("udp", udp.LocalAddr().String()); err != nil {
		t.Fatal(err)
	}
	c.tcp = tcp.Addr().String()
	t.Cleanup(func() {
		_ = c.udp.Close()
		_ = udp.Close()
		_ = tcp.Close()
		<-done
	})
	return c
}

// write replaces resolv.conf as network managers do.
func (c *client) write(resolvConf string) {
	c.t.Helper()
	if err := os.WriteFile(c.file+".new", []byte(resolvConf), 0o644); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) query() []byte {
	c.id++
	return append(binary.BigEndian.AppendUint16(nil, c.id), make([]byte, headerSize)...)
}

// ask returns the name of the server that has answered, and the answer's code.
func (c *client) ask() (name string, code byte) {
	c.t.Helper()
	query := c.query()
	if _, err := c.udp.Write(query); err != nil {
		c.t.Fatal(err)
	}
	_ = c.udp.SetReadDeadline(time.Now().Add(2 * timeout))
	buf := make([]byte, maxMessage)
	n, err := c.udp.Read(buf)
	if err != nil {
		c.t.Fatal(err)
	}
	if !answers(buf[:n], query) {
		c.t.Fatalf("%q is no answer to %q", buf[:n], query)
	}
	return string(buf[headerSize:n]), buf[3]
}

func (c *client) wantFrom(want string) {
	c.t.Helper()
	if got, code := c.ask(); got != want || code != 0 {
		c.t.Errorf("the answer is from %q with code %d, want one from %q", got, code, want)
	}
}

// freePort returns a port that is free on all loopback addresses of a test.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if u, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.2", strconv.Itoa(port))); err == nil {
			_ = u.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func TestFirstServer(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.2", port, 0, false)
	serve(t, "127.0.0.3", port, 0, false)
	c := start(t, port, "search example\nnameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	c.wantFrom("127.0.0.2")
}

func TestIPv6Alone(t *testing.T) {
	port := freePort(t)
	serve(t, "::1", port, 0, false)
	start(t, port, "nameserver ::1\n").wantFrom("::1")
}

// No server at all means the local one.
func TestNoServer(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.1", port, 0, false)
	start(t, port, "options edns0\n").wantFrom("127.0.0.1")
}

func TestNextServer(t *testing.T) {
	for _, tc := range []struct {
		name  string
		first func(t *testing.T, port int)
	}{
		{"nobody listens", func(*testing.T, int) {}},
		{"server failure", func(t *testing.T, port int) { serve(t, "127.0.0.2", port, 2, false) }},
		{"not implemented", func(t *testing.T, port int) { serve(t, "127.0.0.2", port, 4, false) }},
		{"refused", func(t *testing.T, port int) { serve(t, "127.0.0.2", port, 5, false) }},
		{"no answer", func(t *testing.T, port int) { serve(t, "127.0.0.2", port, 0, true) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			port := freePort(t)
			tc.first(t, port)
			serve(t, "127.0.0.3", port, 0, false)
			start(t, port, "nameserver 127.0.0.2\nnameserver bad\nnameserver 127.0.0.3\n").wantFrom("127.0.0.3")
		})
	}
}

// Names that do not exist are an answer: the next server is not asked.
func TestNoSuchName(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.2", port, 3, false)
	second := serve(t, "127.0.0.3", port, 0, false)
	c := start(t, port, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	if got, code := c.ask(); got != "127.0.0.2" || code != 3 {
		t.Errorf("the answer is from %q with code %d", got, code)
	}
	if len(second.asked) > 0 {
		t.Error("the second server was asked")
	}
}

// Where all fail, the client hears that.
func TestAllFail(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.2", port, 5, false)
	c := start(t, port, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	if got, code := c.ask(); got != "127.0.0.2" || code != 5 {
		t.Errorf("the answer is from %q with code %d", got, code)
	}
}

// Where there is none to ask, as without a network, the client hears of a server failure.
func TestNobodyListens(t *testing.T) {
	c := start(t, freePort(t), "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	if _, code := c.ask(); code != 2 {
		t.Errorf("the answer has the code %d, want 2", code)
	}
}

// A server that does not answer delays the first query, not each.
func TestSilentServerIsAskedLast(t *testing.T) {
	port := freePort(t)
	silent := serve(t, "127.0.0.2", port, 0, true)
	serve(t, "127.0.0.3", port, 0, false)
	c := start(t, port, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	for range 5 {
		c.wantFrom("127.0.0.3")
	}
	if n := len(silent.asked); n != 1 {
		t.Errorf("the silent server was asked %d times, want once", n)
	}
}

func TestServersChange(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.2", port, 0, false)
	serve(t, "127.0.0.3", port, 0, false)
	c := start(t, port, "nameserver 127.0.0.2\n")
	c.wantFrom("127.0.0.2")
	c.write("nameserver 127.0.0.3\n")
	c.wantFrom("127.0.0.3")
	if err := os.Remove(c.file); err != nil {
		t.Fatal(err)
	}
	serve(t, "127.0.0.1", port, 0, false)
	c.wantFrom("127.0.0.1")
}

func TestTCP(t *testing.T) {
	port := freePort(t)
	serve(t, "127.0.0.3", port, 0, false)
	c := start(t, port, "nameserver 127.0.0.2\nnameserver 127.0.0.3\n")
	conn, err := net.Dial("tcp", c.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := append(c.query(), strings.Repeat("x", 60000)...)
	writeTCP(conn, query)
	answer, err := readTCP(conn)
	if err != nil || !answers(answer, query) || string(answer[headerSize:]) != "127.0.0.3" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{"", []string{"127.0.0.1"}},
		{"# nameserver 192.0.2.1\nnameserver\nnameserver x\n", []string{"127.0.0.1"}},
		{"nameserver 192.0.2.1\n\tnameserver  fe80::1%eth0 # two\nnameserver 192.0.2.1", []string{"192.0.2.1", "fe80::1%eth0"}},
	} {
		var got []string
		for _, a := range parse(tc.in) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.in, got, tc.want)
		}
	}
}
