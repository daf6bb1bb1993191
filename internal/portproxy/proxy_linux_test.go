package portproxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const nothing = "127.0.0.1:1" // where nobody listens

func listenTCP(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func dialTCP(t *testing.T, addr net.Addr) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// startTCP serves a listener until the test ends.
func startTCP(t *testing.T, container netip.AddrPort) *net.TCPListener {
	t.Helper()
	front := listenTCP(t)
	var serving sync.WaitGroup
	serving.Go(func() { serveTCP(front, newDialer(container, "").dialTCP) })
	t.Cleanup(func() {
		_ = front.Close()
		serving.Wait()
	})
	return front
}

func TestTCPHalfClose(t *testing.T) {
	back := listenTCP(t)
	go func() { // answers only when the client has sent all
		c, err := back.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		data, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(c, "%d bytes", len(data))
	}()
	front := startTCP(t, netip.MustParseAddrPort(back.Addr().String()))
	c := dialTCP(t, front.Addr())
	const size = 10 << 20
	if _, err := io.CopyN(c, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(c)
	if want := fmt.Sprintf("%d bytes", size); err != nil || string(data) != want {
		t.Errorf("%q, %v, want %q", data, err, want)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTCPServerEndsFirst(t *testing.T) {
	back := listenTCP(t)
	go func() {
		c, err := back.Accept()
		if err == nil {
			_, _ = io.WriteString(c, "bye")
			_ = c.Close()
		}
	}()
	c := dialTCP(t, startTCP(t, netip.MustParseAddrPort(back.Addr().String())).Addr())
	data, err := io.ReadAll(c)
	if err != nil || string(data) != "bye" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestTCPNobodyListens(t *testing.T) {
	c := dialTCP(t, startTCP(t, netip.MustParseAddrPort(nothing)).Addr())
	if data, err := io.ReadAll(c); len(data) > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("%q, %v, want the end of the connection", data, err)
	}
}

// startUDP serves a socket on all addresses, with a container that echoes.
func startUDP(t *testing.T, timeout time.Duration) (*udpServer, int) {
	t.Helper()
	echo, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := echo.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = echo.WriteToUDPAddrPort(buf[:n], from)
		}
	})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.UDPAddr).Port
	_ = conn.Close()
	// Bound to all addresses, as published ports are by default; reached on loopback only.
	if conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := askLocalAddr(conn, false); err != nil {
		t.Fatal(err)
	}
	s := newUDPServer(conn, newDialer(netip.MustParseAddrPort(echo.LocalAddr().String()), ""), timeout)
	wg.Go(s.serve)
	t.Cleanup(func() { _ = conn.Close(); _ = echo.Close(); wg.Wait() })
	return s, port
}

func exchange(t *testing.T, conn net.Conn, msg string) {
	t.Helper()
	buf := make([]byte, maxDatagram)
	for range 20 { // a datagram may be lost
		if _, err := io.WriteString(conn, msg); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil || string(buf[:n]) != msg {
			t.Fatalf("%d bytes, %v, want the echo of %d", n, err, len(msg))
		}
		return
	}
	t.Fatalf("no answer for %s", conn.RemoteAddr())
}

func TestUDP(t *testing.T) {
	s, port := startUDP(t, time.Minute)
	// The sockets are connected: they take answers from the address they have sent to
	// and from no other.
	for i, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		for j := range 2 {
			conn, err := net.Dial("udp4", net.JoinHostPort(ip, strconv.Itoa(port)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			exchange(t, conn, fmt.Sprintf("client %d %d", i, j))
			exchange(t, conn, strings.Repeat("x", 60000))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) != 6 {
		t.Errorf("%d sessions of 6 clients", len(s.sessions))
	}
}

func TestUDPTimeout(t *testing.T) {
	s, port := startUDP(t, 20*time.Millisecond)
	conn, err := net.Dial("udp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exchange(t, conn, "one")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.sessions)
		s.mu.Unlock()
		if n == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an idle session never ends")
		}
	}
	exchange(t, conn, "another")
}

// newNetns makes a network namespace with its loopback interface up, which ends with
// the test, and returns its path.
func newNetns(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	path := make(chan string)
	end := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = exec.Command("ip", "link", "set", "lo", "up").Run()
		}
		done <- err
		path <- fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		<-end
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(end) })
	return <-path
}

// inNetns calls f in the network namespace that the file path names. Sockets belong
// to the namespace of the thread that makes them, so only one thread moves there.
func inNetns(path string, f func() error) error {
	there, err := os.Open(path)
	if err != nil {
		return err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer here.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return &os.PathError{Op: "setns", Path: path, Err: err}
	}
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		// A thread that stays locked is never used for another goroutine.
		return errors.Join(err, os.NewSyscallError("setns", back))
	}
	runtime.UnlockOSThread()
	return err
}

func TestListen(t *testing.T) {
	host := newNetns(t)
	broker, _ := startBroker(t, host)
	back := listenTCP(t)
	go func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	container := netip.MustParseAddrPort(back.Addr().String())
	free := listenTCP(t).Addr().(*net.TCPAddr).AddrPort() // taken here, so it is free there
	get := func() string {
		c, err := net.Dial("tcp", free.String())
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		data, _ := io.ReadAll(c)
		return string(data)
	}

	if _, err := newProxy(config{Proto: "tcp", Host: free, Container: container}, broker, nil); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a port that is taken in the engine's namespace: %v, want EADDRINUSE", err)
	}
	var taken net.Listener
	if err := inNetns(host, func() (err error) { taken, err = net.Listen("tcp", "127.0.0.1:8080"); return err }); err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addr := range []string{"127.0.0.1:8080", "0.0.0.0:8080"} {
		_, err := newProxy(config{Proto: "tcp", Host: netip.MustParseAddrPort(addr), Container: container}, broker, nil)
		if want := "listen tcp4 " + addr + ": bind: address already in use"; err == nil || err.Error() != want {
			t.Errorf("a port that is taken on the host: %v, want %q", err, want)
		}
	}
	// An address that is in neither.
	if _, err := newProxy(config{Proto: "tcp", Host: netip.MustParseAddrPort("192.0.2.77:80"), Container: container}, broker, nil); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("an address that is not the host's: %v, want EADDRNOTAVAIL", err)
	}
	for _, path := range []string{"", "/nonexistent", "/etc/passwd"} {
		if _, err := newProxy(config{Proto: "tcp", Host: free, Container: container}, path, nil); err == nil {
			t.Errorf("broker %q: no error", path)
		}
	}

	// dockerd 28 and later has bound the address here itself.
	bound := listenTCP(t)
	free = bound.Addr().(*net.TCPAddr).AddrPort()
	file, err := bound.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p, err := newProxy(config{Proto: "tcp", Host: free, Container: container}, broker, file)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { p.Run(); close(done) }()
	if got := get(); got != "hello" {
		t.Errorf("from the engine's namespace: %q", got)
	}
	var got string
	if err := inNetns(host, func() error { got = get(); return nil }); err != nil || got != "hello" {
		t.Errorf("from the host's namespace: %q, %v", got, err)
	}
	p.Close()
	<-done

	// A datagram socket where a listener is needed.
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	udpFile, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer udpFile.Close()
	if _, err := newProxy(config{Proto: "tcp", Host: free, Container: container}, broker, udpFile); err == nil {
		t.Error("a udp socket passed for a tcp listener: no error")
	}
	if p, err = newProxy(config{Proto: "udp", Host: free, Container: container}, broker, udpFile); err != nil {
		t.Errorf("a udp socket that dockerd has bound: %v", err)
	} else {
		p.Close()
	}
}

// The program, as dockerd runs it.
func TestProgram(t *testing.T) {
	broker, _ := startBroker(t, newNetns(t))
	program := filepath.Join(t.TempDir(), "docker-rd-proxy")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/docker-rd-proxy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := func(args ...string) (*exec.Cmd, string) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), BrokerEnv+"="+broker)
		cmd.ExtraFiles = []*os.File{w}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		answer, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return cmd, string(answer)
	}
	l := listenTCP(t)
	_ = l.Close()
	addr := l.Addr().(*net.TCPAddr)
	good := []string{"-proto", "tcp", "-host-ip", addr.IP.String(), "-host-port", fmt.Sprint(addr.Port), "-container-ip", "127.0.0.1", "-container-port", "1"}

	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd, answer := start(good...)
		if answer != "0\n" {
			t.Errorf("answer %q", answer)
		}
		_, taken := start(good...)
		if want := fmt.Sprintf("1\nlisten tcp4 %s: bind: address already in use", addr); taken != want {
			t.Errorf("a second one answers %q, want %q", taken, want)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil { // dockerd takes another status than 0 for an error
			t.Errorf("after %v: %v", sig, err)
		}
	}
	cmd, answer := start("-proto", "sctp")
	if !strings.HasPrefix(answer, "1\n") || !strings.Contains(answer, "sctp") {
		t.Errorf("sctp: %q", answer)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("an error exits with 0")
	}
	err := exec.Command(program).Run() // by hand
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 125 {
		t.Errorf("by hand: %v, want exit status 125", err)
	}
}

// failingSocket is a socket whose reads fail a number of times before it is closed.
type failingSocket struct {
	udpSocket
	left int
}

func (f *failingSocket) ReadMsgUDPAddrPort(_, _ []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	if f.left == 0 {
		return 0, 0, 0, addr, net.ErrClosed
	}
	f.left--
	return 0, 0, 0, addr, unix.ENOBUFS
}

// A socket that goes on failing does not take a whole processor.
func TestUDPFailingReads(t *testing.T) {
	const failures = 5
	s := newUDPServer(&failingSocket{left: failures}, newDialer(netip.MustParseAddrPort(nothing), ""), time.Minute)
	pauses := 0
	s.pause = func() { pauses++ }
	s.serve()
	if pauses != failures {
		t.Errorf("%d pauses after %d failures", pauses, failures)
	}
}

// Where the client's address can't be the source, the engine's own is.
func TestDialerFallsBack(t *testing.T) {
	netns := newNetns(t)
	err := inNetns(netns, func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		container := l.Addr().(*net.TCPAddr).AddrPort()
		for _, tc := range []struct {
			name, families, client string
			plain                  bool // that it is so is known afterwards
		}{
			{"no rules", "", "198.51.100.7:1234", false},
			{"rules for another family", "6", "198.51.100.7:1234", false},
			{"another family", "46", "[2001:db8::7]:1234", false},
			{"on loopback", "46", "127.0.0.1:1234", false},
			{"link-local", "46", "169.254.1.1:1234", false},
			{"no way back", "46", "198.51.100.7:1234", true},
		} {
			d := newDialer(container, tc.families)
			d.timeout = 20 * time.Millisecond
			conn, err := d.dialTCP(netip.MustParseAddrPort(tc.client))
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
				continue
			}
			if source := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); !source.IsLoopback() {
				t.Errorf("%s: the source is %s", tc.name, source)
			}
			_ = conn.Close()
			if known := d.plainTill.Load() > 0; known != tc.plain {
				t.Errorf("%s: the container is known to be dialed plainly: %v", tc.name, known)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
