//go:build !windows

package endpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/context/store"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

func TestFromURL(t *testing.T) {
	long := "unix:///" + strings.Repeat("x", maxSocketPath)
	for _, tc := range []struct {
		host string
		tls  TLSOptions
		want string // the endpoint's host, if there is no error
		err  error
	}{
		{host: "unix:///var/run/docker.sock", want: "unix:///var/run/docker.sock"},
		{host: "unix:///with space/s", want: "unix:///with space/s"},
		{host: "tcp://127.0.0.1:1234", want: "tcp://127.0.0.1:1234"},
		{host: "tcp://h", want: "tcp://h:2375"},
		{host: "tcp://h", tls: TLSOptions{SkipVerify: true}, want: "tcp://h:2376"},
		{host: "tcp://[::1]:1", want: "tcp://[::1]:1"},
		{host: "tcp://[::1]", want: "tcp://[::1]:2375"},
		{host: "tcp://h:1/base", want: "tcp://h:1/base"},
		{host: "http://h:1", want: "http://h:1"},
		{host: "http://h:1/", want: "http://h:1"},
		{host: "http://h:1/engine", err: ErrAddress},
		{host: "https://h:1", tls: TLSOptions{SkipVerify: true}, want: "https://h:1"},
		{host: "ssh://u@h:22/run/docker.sock", want: "ssh://u@h:22/run/docker.sock"},

		{host: "TCP://h", want: "tcp://h:2375"},
		{host: "SSH://h", want: "SSH://h"},

		{host: "", err: ErrScheme},
		{host: "UNIX:///s", err: ErrScheme},
		{host: "h:2375", err: ErrScheme},
		// A context that has no certificate means plain text to docker.
		{host: "https://h:1", err: ErrTLSMaterial},
		{host: "tcp://h", tls: TLSOptions{Enabled: true}, err: ErrTLSMaterial},

		{host: "ftp://h", err: ErrScheme},
		{host: "fd://3", err: ErrScheme},
		{host: "unix://", err: ErrAddress},
		{host: "unix://relative", err: ErrAddress},
		{host: "unix:///a\x00b", err: ErrAddress},
		{host: "unix://unix:///a", err: ErrAddress},
		{host: long, err: ErrPathTooLong},
		{host: "npipe:////./pipe/docker_engine", err: ErrAddress},
		{host: "tcp://", err: ErrAddress},
		{host: "tcp://:2375", err: ErrAddress},
		{host: "tcp://u:secret@h", err: ErrAddress},
		{host: "tcp://h?x=y", err: ErrAddress},
		{host: "tcp://h:port", err: ErrAddress},
		{host: "tcp://u:secret/secret@h", err: ErrAddress},
		{host: "ssh://u:secret@h", err: ErrAddress},
		{host: "ftp://u:secret@h", err: ErrAddress},
		{host: "ssh://", err: ErrAddress},
		{host: "ssh://h?x", err: ErrAddress},
		{host: "unix:///s", tls: TLSOptions{Enabled: true}, err: ErrTLSMaterial},
		{host: "ssh://h", tls: TLSOptions{Enabled: true}, err: ErrTLSMaterial},
		{host: "http://h", tls: TLSOptions{Enabled: true}, err: ErrTLSMaterial},
		{host: "tcp://h", tls: TLSOptions{CAFile: "/nonexistent"}, err: ErrTLSMaterial},
		{host: "tcp://h", tls: TLSOptions{CAFile: "/dev/null"}, err: ErrTLSMaterial},
		{host: "tcp://h", tls: TLSOptions{SkipVerify: true, CertFile: "/dev/null"}, err: ErrTLSMaterial},
		{host: "tcp://h", tls: TLSOptions{SkipVerify: true, KeyFile: "/dev/null"}, err: ErrTLSMaterial},
	} {
		e, err := FromURL(tc.host, tc.tls)
		if !errors.Is(err, tc.err) || e.Host != tc.want {
			t.Errorf("FromURL(%q, %+v) = %q, %v, want %q, %v", tc.host, tc.tls, e.Host, err, tc.want, tc.err)
		}
		if err != nil && failure.Code(err) != failure.CodeRefused {
			t.Errorf("FromURL(%q): exit status %d, want %d", tc.host, failure.Code(err), failure.CodeRefused)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("FromURL(%q): %v repeats the password", tc.host, err)
		}
	}
}

func TestShown(t *testing.T) {
	for host, want := range map[string]string{
		"tcp://user:secret@h:1/path":     "tcp://user:xxxxx@h:1/path",
		"ssh://user:secret@h/run/s":      "ssh://user:xxxxx@h/run/s",
		"https://:secret@h":              "https://:xxxxx@h",
		"user:secret@h:2375":             "user:xxxxx@h:2375",
		"tcp://user:se/cr:et@@h":         "tcp://user:xxxxx@h", // no URL
		"ftp://user:secret@h":            "ftp://user:xxxxx@h",
		"ssh://user@h":                   "ssh://user@h",
		"tcp://h:1/a@b":                  "tcp://h:1/a@b",
		"unix:///home/a:b@c/docker.sock": "unix:///home/a:b@c/docker.sock",
		"tcp://[::1]:1":                  "tcp://[::1]:1",
		"":                               "",
	} {
		if got := (Endpoint{Host: host}).Shown(); got != want {
			t.Errorf("Endpoint{%q}.Shown() = %q, want %q", host, got, want)
		}
	}
}

// docker's client connects to no URL with a user, but for tcp, where it drops the user.
func TestUserInURL(t *testing.T) {
	at := endpointtest.TCP(t, "127.0.0.1", endpointtest.Handler())
	for scheme, want := range map[string]error{"tcp": nil, "http": ErrAddress, "https": ErrAddress} {
		_, err := Endpoint{Host: scheme + "://user:secret@" + at}.Ping(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("%s: Ping: %v, want %v", scheme, err, want)
		}
	}
}

// What FromURL accepts can be dialled: only the network decides then.
func FuzzFromURL(f *testing.F) {
	for _, s := range []string{"unix:///s", "tcp://h", "tcp://[::1]:1", "ssh://u@h/s", "http://h", "https://h", "npipe://x", "tcp://h:0x1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		e, err := FromURL(host, TLSOptions{})
		if err != nil {
			if e.Host != "" {
				t.Errorf("FromURL(%q) = %+v with the error %v", host, e, err)
			}
			return
		}
		c, err := e.Client()
		if err != nil {
			t.Fatalf("FromURL(%q) accepted what Client refuses: %v", host, err)
		}
		_ = c.Close()
		again, err := FromURL(e.Host, TLSOptions{})
		if err != nil || again.Host != e.Host {
			t.Errorf("FromURL(%q) = %q, which again is %q, %v", host, e.Host, again.Host, err)
		}
	})
}

func TestFromDefault(t *testing.T) {
	dir := t.TempDir()
	ca := endpointtest.NewAuthority(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour))
	for name, data := range map[string][]byte{"ca.pem": ca.PEM, "cert.pem": pair.Cert, "key.pem": pair.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	for _, tc := range []struct {
		name      string
		env       map[string]string
		configDir string
		host      string
		tls, skip bool
		err       error
	}{
		{name: "nothing", configDir: dir, host: client.DefaultDockerHost},
		{name: "host", env: map[string]string{"DOCKER_HOST": "tcp://h:1"}, host: "tcp://h:1"},
		{name: "host without scheme", env: map[string]string{"DOCKER_HOST": "h"}, host: "tcp://h:2375"},
		{name: "bad host", env: map[string]string{"DOCKER_HOST": "ftp://h"}, host: "ftp://h", err: ErrAddress},
		{name: "verify", env: map[string]string{"DOCKER_TLS_VERIFY": "1"}, configDir: dir, host: "tcp://localhost:2376", tls: true},
		{name: "tls only", env: map[string]string{"DOCKER_TLS": "1", "DOCKER_CERT_PATH": dir}, configDir: empty, host: "tcp://localhost:2376", tls: true, skip: true},
		{name: "no ca", env: map[string]string{"DOCKER_TLS_VERIFY": "1"}, configDir: empty, host: "tcp://localhost:2376", err: ErrTLSMaterial},
	} {
		e, err := FromDefault(DefaultFromEnv(func(k string) string { return tc.env[k] }, tc.configDir))
		if !errors.Is(err, tc.err) {
			t.Errorf("%s: error %v, want %v", tc.name, err, tc.err)
			continue
		}
		if e.Host != tc.host || (e.TLS != nil) != tc.tls || err == nil && e.SkipTLSVerify != tc.skip {
			t.Errorf("%s: %q, TLS %v, skip %v; want %q, %v, %v", tc.name, e.Host, e.TLS != nil, e.SkipTLSVerify, tc.host, tc.tls, tc.skip)
		}
	}
}

func TestFromContext(t *testing.T) {
	s := OpenStore(t.TempDir())
	put := func(name, json string) {
		t.Helper()
		if err := s.CreateOrUpdate(store.Metadata{Name: name}); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.GetStorageInfo(name).MetadataPath, "meta.json")
		if err := os.WriteFile(path, []byte(json), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("good", `{"Name":"good","Endpoints":{"docker":{"Host":"unix:///s"}}}`)
	put("corrupt", `{"Name":`)
	put("empty", ``)
	put("nul", strings.Repeat("\x00", 512))
	// Docker's own command panics on it.
	put("odd", `{"Name":"odd","Metadata":{"Description":7},"Endpoints":{"docker":{"Host":"unix:///s"}}}`)
	put("other", `{"Name":"other","Endpoints":{"kubernetes":{}}}`)
	put("nohost", `{"Name":"nohost","Endpoints":{"docker":{}}}`)
	for name, want := range map[string]error{
		"good": nil, "odd": nil, "corrupt": ErrCorrupt, "empty": ErrCorrupt, "nul": ErrCorrupt,
		"other": ErrNoEndpoint, "nohost": ErrNoHost, "missing": errdefs.ErrNotFound,
	} {
		e, err := FromContext(s, name)
		if !errors.Is(err, want) && !(want == errdefs.ErrNotFound && errdefs.IsNotFound(err)) {
			t.Errorf("FromContext(%q): %v, want %v", name, err, want)
		}
		if want == nil && e.Host != "unix:///s" {
			t.Errorf("FromContext(%q) = %q", name, e.Host)
		}
	}
}

// Every kind of endpoint leads to a client that works and negotiates.
func TestClient(t *testing.T) {
	ca := endpointtest.NewAuthority(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour))
	mutual := &TLS{CA: ca.PEM, Cert: pair.Cert, Key: pair.Key}
	h := endpointtest.Handler()
	plain := endpointtest.TCP(t, "127.0.0.1", h)
	for _, tc := range []struct {
		name string
		e    Endpoint
	}{
		{"unix", Endpoint{Host: "unix://" + endpointtest.Unix(t, h)}},
		{"tcp", Endpoint{Host: "tcp://" + plain}},
		{"http", Endpoint{Host: "http://" + plain}},
		{"upper case", Endpoint{Host: "TCP://" + plain}},
		{"IPv6", Endpoint{Host: "tcp://" + endpointtest.TCP(t, "::1", h)}},
		{"TLS", Endpoint{Host: "tcp://" + endpointtest.TLS(t, pair, ca, h), TLS: mutual}},
		{"https", Endpoint{Host: "https://" + endpointtest.TLS(t, pair, ca, h), TLS: mutual}},
		{"unverified", Endpoint{Host: "tcp://" + endpointtest.TLS(t, pair, nil, h), SkipTLSVerify: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := tc.e.Client()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			v, err := c.ServerVersion(t.Context(), client.ServerVersionOptions{})
			if err != nil || v.Version != endpointtest.ServerVersion || c.ClientVersion() != endpointtest.APIVersion {
				t.Errorf("ServerVersion = %q over API %q, %v", v.Version, c.ClientVersion(), err)
			}
			if pong, err := tc.e.Ping(t.Context()); err != nil || pong.APIVersion != endpointtest.APIVersion {
				t.Errorf("Ping = %+v, %v", pong, err)
			}
			resp, err := c.Get(t.Context(), "/version", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), endpointtest.ServerVersion) {
				t.Errorf("Get = %q, %v", body, err)
			}
		})
	}
}

// Get asks as docker's client does, and tells what kind of error an answer is.
func TestGet(t *testing.T) {
	asked := make(chan *http.Request, 1)
	e := Endpoint{Headers: map[string]string{"X-Key": "value"}, Host: "tcp://" + endpointtest.TCP(t, "127.0.0.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", endpointtest.APIVersion)
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
		case strings.HasSuffix(r.URL.Path, "/gone"):
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"No such thing"}`)
		case strings.HasSuffix(r.URL.Path, "/broken"):
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>\n<body>")
		case strings.HasSuffix(r.URL.Path, "/moved"):
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		default:
			asked <- r
		}
	})) + "/base"}
	c, err := e.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := c.Get(t.Context(), "/volumes/a b?c%", url.Values{"all": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	r := <-asked
	if want := "/base/v" + endpointtest.APIVersion + "/volumes/a b?c%"; r.URL.Path != want || r.URL.RawQuery != "all=1" || r.Header.Get("X-Key") != "value" {
		t.Errorf("asked for %s with %v", r.URL, r.Header)
	}
	for path, want := range map[string]StatusError{
		"/gone": {404, "No such thing"}, "/broken": {502, ""}, "/moved": {302, ""},
	} {
		_, err := c.Get(t.Context(), path, nil)
		got, ok := errors.AsType[*StatusError](err)
		if !ok || *got != want || errdefs.IsNotFound(err) != (want.Status == 404) {
			t.Errorf("Get(%q): %v, not found: %v", path, err, errdefs.IsNotFound(err))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "/version", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The environment's proxy is for tcp, as it is for docker, and for nothing else.
func TestProxyIsForTCP(t *testing.T) {
	for host, want := range map[string]bool{
		"tcp://h:1": true, "http://h:1": true, "unix:///s": false, "ssh://h": false,
	} {
		tr, _, err := Endpoint{Host: host}.transport()
		if err != nil || (tr.Proxy != nil) != want {
			t.Errorf("%s: proxy %v (%v), want %v", host, tr.Proxy != nil, err, want)
		}
	}
}

// net/http goes on with a handshake that nobody waits for any more. Ping must not.
func TestPingEndsHandshake(t *testing.T) {
	l := endpointtest.Listen(t, "127.0.0.1")
	ended := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for {
			if _, err := conn.Read(buf); err != nil {
				ended <- nil
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := (Endpoint{Host: "tcp://" + l.Addr().String(), SkipTLSVerify: true}).Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ping: %v, want deadline exceeded", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPingCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := Endpoint{Host: "unix://" + endpointtest.Unix(t, endpointtest.Never)}
	if _, err := e.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping: %v, want canceled", err)
	}
}

// What is behind host and port is put before the path of each request, as docker does.
func TestPingPath(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/", endpointtest.Handler())
	mux.Handle("/base/", http.StripPrefix("/base", endpointtest.Handler()))
	address := endpointtest.TCP(t, "127.0.0.1", mux)
	for _, path := range []string{"", "/", "/base", "/base/"} {
		e := Endpoint{Host: "tcp://" + address + path}
		if pong, err := e.Ping(t.Context()); err != nil || pong.ServerVersion != endpointtest.ServerVersion {
			t.Errorf("Ping(%s) = %+v, %v", e.Host, pong, err)
		}
		c, err := e.Client()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ServerVersion(t.Context(), client.ServerVersionOptions{}); err != nil {
			t.Errorf("ServerVersion(%s): %v", e.Host, err)
		}
		_ = c.Close()
	}
}

// The engine's version is not that of a web server in front of it.
func TestPingServerVersion(t *testing.T) {
	for server, want := range map[string]string{
		"Docker/28.2.2 (linux)": "28.2.2", "Libpod/4.3.1 (linux)": "4.3.1",
		"nginx/1.18.0": endpointtest.ServerVersion, "Docker": endpointtest.ServerVersion, "": endpointtest.ServerVersion,
	} {
		e := Endpoint{Host: "unix://" + endpointtest.Unix(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", server)
			endpointtest.Handler().ServeHTTP(w, r)
		}))}
		if pong, err := e.Ping(t.Context()); err != nil || pong.ServerVersion != want {
			t.Errorf("behind %q: %+v, %v, want %s", server, pong, err, want)
		}
	}
}

// A server that goes on for ever, or too slowly, ends with the deadline, and one that
// sends too much is not read to its end.
func TestPingOddServers(t *testing.T) {
	serve := func(answer func(conn net.Conn)) string {
		l := endpointtest.Listen(t, "127.0.0.1")
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					if _, err := conn.Read(make([]byte, 4096)); err == nil {
						answer(conn)
					}
				}()
			}
		}()
		return "tcp://" + l.Addr().String()
	}
	forEver := func(conn net.Conn, text string) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name   string
		answer func(conn net.Conn)
		want   error // nil for any
	}{
		{name: "one byte at a time", want: context.DeadlineExceeded, answer: func(conn net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\nOK") {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}},
		{name: "headers for ever", answer: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			forEver(conn, "X-Header: "+strings.Repeat("x", 1000)+"\r\n")
		}},
		{name: "a header line for ever", answer: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Header: ")
			forEver(conn, strings.Repeat("x", 1000))
		}},
		{name: "informational answers for ever", answer: func(conn net.Conn) {
			forEver(conn, "HTTP/1.1 103 Early Hints\r\n\r\n")
		}},
		{name: "an error's body for ever", answer: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 500 Error\r\n\r\n")
			forEver(conn, "sorry ")
		}},
		{name: "bytes that mean nothing", answer: func(conn net.Conn) {
			_, _ = conn.Write(bytes.Repeat([]byte{0xff, 0, '\n'}, 5000))
		}},
		{name: "no version and no end", answer: func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			forEver(conn, "5\r\nhello\r\n")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pong, err := ping(t, serve(tc.answer), time.Second)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("Ping = %+v, %v", pong, err)
			}
		})
	}
}

// An error has the words of an engine in one line, and none of a web server's page.
func TestStatusErrorWords(t *testing.T) {
	for body, want := range map[string]string{
		`{"message":"denied by policy"}`:     "HTTP status 403 Forbidden: denied by policy",
		"denied\nby policy":                  "HTTP status 403 Forbidden: denied",
		"<html>\n<title>Forbidden</title>\n": "HTTP status 403 Forbidden",
		"":                                   "HTTP status 403 Forbidden",
	} {
		e := Endpoint{Host: "unix://" + endpointtest.Unix(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, body)
		}))}
		if _, err := e.Ping(t.Context()); err == nil || err.Error() != want {
			t.Errorf("Ping: %v, want %s", err, want)
		}
	}
}

// A server's words are cut to what fits, not within a letter.
func TestStatusErrorIsText(t *testing.T) {
	e := Endpoint{Host: "unix://" + endpointtest.Unix(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "x"+strings.Repeat("ä", 500), http.StatusForbidden)
	}))}
	var status *StatusError
	if _, err := e.Ping(t.Context()); !errors.As(err, &status) || !utf8.ValidString(status.Message) {
		t.Errorf("Ping: %v", err)
	}
}
