// Package endpointtest gives tests endpoints to connect to: an HTTP server that answers
// as a Docker engine does as far as a probe sees, certificates, and a real sshd on the
// loopback address.
package endpointtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What an engine made by [Handler] says of itself.
const (
	APIVersion    = "1.41"
	ServerVersion = "20.10.24"
)

// Handler answers /_ping, /version and /events, with and without an API version in the
// path. The events stream sends one message at once and stays open.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", APIVersion)
		path := r.URL.Path
		if rest, ok := strings.CutPrefix(path, "/v1."); ok {
			_, path, _ = strings.Cut(rest, "/")
			path = "/" + path
		}
		switch path {
		case "/_ping":
			_, _ = io.WriteString(w, "OK")
		case "/version":
			_ = json.NewEncoder(w).Encode(map[string]string{"Version": ServerVersion, "ApiVersion": APIVersion})
		case "/events":
			_, _ = io.WriteString(w, `{"Type":"container","Action":"start","Actor":{"ID":"c1"}}`+"\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	})
	return mux
}

// Never is a handler that does not answer before the client has gone.
var Never = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

// Serve serves h on l until the test ends.
func Serve(t testing.TB, l net.Listener, h http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    quiet,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		<-done
	})
}

// Dir returns a temporary directory whose path is short enough for sockets.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Unix serves h on a new unix socket and returns its path.
func Unix(t testing.TB, h http.Handler) string {
	t.Helper()
	path := filepath.Join(Dir(t), "s")
	UnixAt(t, path, h)
	return path
}

// UnixAt serves h on a unix socket at path.
func UnixAt(t testing.TB, path string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	Serve(t, l, h)
}

// TCP serves h on a new port of address, such as "127.0.0.1", and returns host:port.
func TCP(t testing.TB, address string, h http.Handler) string {
	t.Helper()
	l := Listen(t, address)
	Serve(t, l, h)
	return l.Addr().String()
}

// Listen listens on a new port of address until the test ends.
func Listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ClosedPort returns host:port where nobody listens.
func ClosedPort(t testing.TB, address string) string {
	t.Helper()
	l := Listen(t, address)
	defer l.Close()
	return l.Addr().String()
}

// StaleSocket makes a socket file on which nobody listens.
func StaleSocket(t testing.TB) string {
	t.Helper()
	path := filepath.Join(Dir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	return path
}

// Processes returns the running processes whose command line contains text, one line
// each.
func Processes(t testing.TB, text string) []string {
	t.Helper()
	out, err := exec.Command("ps", "-axww", "-o", "pid,ppid,stat,command").Output()
	if err != nil {
		t.Fatalf("ps: %v", err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// NoProcess fails the test if a process whose command line contains text does not end
// soon.
func NoProcess(t testing.TB, text string) {
	t.Helper()
	var left []string
	if !Eventually(func() bool {
		left = Processes(t, text)
		return len(left) == 0
	}) {
		t.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
}

// Eventually reports whether ok becomes true soon.
func Eventually(ok func() bool) bool {
	const patience = time.Minute
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Script writes a shell script.
func Script(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\n%s\n", text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
