//go:build !windows

package dockercontext

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
)

// slack is what a loaded machine may add to a deadline before a test fails.
const slack = 5 * time.Second

// probe probes one context and checks the deadline.
func (f *fixture) probe(name string, timeout time.Duration) Report {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), timeout)
	defer cancel()
	start := time.Now()
	reports := f.Probe(ctx, name)
	if over := time.Since(start) - timeout; over > slack {
		f.t.Errorf("Probe(%q) took %s longer than its deadline", name, over)
	}
	if len(reports) != 1 || reports[0].Name != name {
		f.t.Fatalf("Probe(%q) = %+v", name, reports)
	}
	return reports[0]
}

func (f *fixture) wantProbe(name string, timeout time.Duration, health Health, reason string) Report {
	f.t.Helper()
	r := f.probe(name, timeout)
	if r.Health != health || r.Reason != reason {
		f.t.Errorf("Probe(%q) = %s, %s (%s), want %s, %s", name, r.Health, r.Reason, r.Message, health, reason)
	}
	if !strings.HasSuffix(r.Message, ".") && !strings.HasSuffix(r.Message, "!") && !strings.HasSuffix(r.Message, "?") || strings.Contains(r.Message, "\n") {
		f.t.Errorf("Probe(%q): %q is no sentence", name, r.Message)
	}
	if health == Healthy && (r.APIVersion != endpointtest.APIVersion || r.ServerVersion != endpointtest.ServerVersion) {
		f.t.Errorf("Probe(%q): API %q, server %q", name, r.APIVersion, r.ServerVersion)
	}
	return r
}

const (
	long  = 20 * time.Second       // enough for whatever answers
	short = 700 * time.Millisecond // for what does not
)

func status(code int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	})
}

func TestProbeUnix(t *testing.T) {
	f := setup(t)
	late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
			endpointtest.Handler().ServeHTTP(w, r)
		}
	})
	apiError := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(500)
		_, _ = w.Write([]byte(`{"message":"starting"}`))
	})
	dir := endpointtest.Dir(t)
	f.write(filepath.Join(dir, "file"), "")
	for _, tc := range []struct {
		name, path string
		timeout    time.Duration
		health     Health
		reason     string
	}{
		{"healthy", endpointtest.Unix(t, endpointtest.Handler()), long, Healthy, probeHealthy},
		{"missing", dir + "/s", long, Broken, probeSocketMissing},
		{"missing-dir", dir + "/none/s", long, Broken, probeSocketMissing},
		{"below-file", dir + "/file/s", long, Broken, probeSocketMissing},
		{"refused", endpointtest.StaleSocket(t), long, Broken, probeSocketRefused},
		{"file", dir + "/file", long, Broken, probeSocketRefused},
		{"silent", endpointtest.Unix(t, endpointtest.Never), short, HealthUnknown, probeTimeout},
		{"late", endpointtest.Unix(t, late), short, HealthUnknown, probeTimeout},
		{"too-long", "/" + strings.Repeat("x", 200), long, HealthUnknown, probeSocketPathTooLong},
		{"web-server", endpointtest.Unix(t, status(200, "<html>")), long, HealthUnknown, probeNotDocker},
		{"not-found", endpointtest.Unix(t, status(404, "no such page")), long, HealthUnknown, probeHTTPError},
		{"redirect", endpointtest.Unix(t, http.RedirectHandler("/elsewhere", http.StatusFound)), long, HealthUnknown, probeHTTPError},
		{"error-500", endpointtest.Unix(t, apiError), long, HealthUnknown, probeHTTPError},
		{"no-time", dir + "/s", proofPause / 2, HealthUnknown, probeUnproven},
	} {
		f.put(tc.name, endpoint.Endpoint{Host: "unix://" + tc.path})
		r := f.wantProbe(tc.name, tc.timeout, tc.health, tc.reason)
		if r.Scheme != "unix" || r.Host != "unix://"+tc.path || r.Current || r.Ours {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
}

func TestProbePermissionDenied(t *testing.T) {
	f := setup(t)
	socket := endpointtest.Unix(t, endpointtest.Handler())
	hidden := endpointtest.Unix(t, endpointtest.Handler())
	f.put("socket", endpoint.Endpoint{Host: "unix://" + socket})
	f.put("directory", endpoint.Endpoint{Host: "unix://" + hidden})
	f.put("metadata", endpoint.Endpoint{Host: "unix://" + socket})
	for path, mode := range map[string]os.FileMode{
		filepath.Dir(f.o.Dir): 0o755, f.o.Dir: 0o755, filepath.Dir(socket): 0o755, socket: 0o600,
		filepath.Dir(hidden): 0, f.store.GetStorageInfo("metadata").MetadataPath + "/meta.json": 0,
	} {
		f.mode(path, mode)
	}
	if os.Getuid() != 0 {
		f.mode(socket, 0)
	}
	for name, reason := range map[string]string{
		"socket": probePermissionDenied, "directory": probePermissionDenied, "metadata": probeMetadataUnreadable,
	} {
		var r Report
		f.runOrdinary(&r, job{Do: "probe", Owner: Owner{Context: name}})
		if r.Health != HealthUnknown || r.Reason != reason {
			t.Errorf("Probe(%q) = %s, %s (%s), want unknown, %s", name, r.Health, r.Reason, r.Message, reason)
		}
	}
}

// An engine that comes up between the two looks was never broken.
func TestProbeLooksTwice(t *testing.T) {
	f := setup(t)
	path := filepath.Join(endpointtest.Dir(t), "s")
	f.put("twice", endpoint.Endpoint{Host: "unix://" + path})
	if r := f.look(t.Context(), "twice"); r.Health != Broken {
		t.Fatalf("before: %+v", r)
	}
	go func() {
		time.Sleep(proofPause / 3)
		endpointtest.UnixAt(t, path, endpointtest.Handler())
	}()
	f.wantProbe("twice", long, Healthy, probeHealthy)
}

func TestProbeTCP(t *testing.T) {
	f := setup(t)
	plain := endpointtest.TCP(t, "127.0.0.1", endpointtest.Handler())
	_, port, _ := net.SplitHostPort(plain)
	own := ownAddress(t)
	for _, tc := range []struct {
		name, host string
		timeout    time.Duration
		health     Health
		reason     string
	}{
		{"healthy", "tcp://" + plain, long, Healthy, probeHealthy},
		{"by-name", "tcp://localhost:" + port, long, Healthy, probeHealthy},
		{"http", "http://" + plain, long, Healthy, probeHealthy},
		{"ipv6", "tcp://" + endpointtest.TCP(t, "::1", endpointtest.Handler()), long, Healthy, probeHealthy},
		{"refused", "tcp://" + endpointtest.ClosedPort(t, "127.0.0.1"), long, Broken, probeConnectionRefused},
		{"refused-ipv6", "tcp://" + endpointtest.ClosedPort(t, "::1"), long, Broken, probeConnectionRefused},
		{"refused-name", "tcp://localhost:1", long, Broken, probeConnectionRefused},
		{"refused-elsewhere", "tcp://" + endpointtest.ClosedPort(t, own), long, HealthUnknown, probeRefusedElsewhere},
		{"unroutable", "tcp://255.255.255.255:2375", long, HealthUnknown, probeUnreachable},
		{"unresolved", "tcp://host..invalid:2375", long, HealthUnknown, probeHostNotFound},
		{"silent", "tcp://" + endpointtest.TCP(t, "127.0.0.1", endpointtest.Never), short, HealthUnknown, probeTimeout},
		{"web-server", "tcp://" + endpointtest.TCP(t, "127.0.0.1", status(200, "hi")), long, HealthUnknown, probeNotDocker},
		{"no-http", "tcp://" + banner(t), long, HealthUnknown, probeConnectFailed},
	} {
		f.put(tc.name, endpoint.Endpoint{Host: tc.host})
		f.wantProbe(tc.name, tc.timeout, tc.health, tc.reason)
	}
}

// A proxy that refuses says nothing about the engine behind it. net/http reads the
// environment only once, hence the process of its own.
func TestProbeThroughProxy(t *testing.T) {
	f := setup(t)
	f.put("proxied", endpoint.Endpoint{Host: "tcp://engine.invalid:2375"})
	var r Report
	f.run(&r, job{Do: "probe", Owner: Owner{Context: "proxied"}},
		"HTTP_PROXY=http://"+endpointtest.ClosedPort(t, "127.0.0.1"), "NO_PROXY=")
	if r.Health != HealthUnknown || r.Reason != probeRefusedElsewhere {
		t.Errorf("Probe = %s, %s (%s)", r.Health, r.Reason, r.Message)
	}
}

// ownAddress is an address of this machine that is no loopback address.
func ownAddress(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Fatal("this test needs an address that is no loopback address")
	return ""
}

// banner serves something that is not HTTP.
func banner(t *testing.T) string {
	t.Helper()
	l := endpointtest.Listen(t, "127.0.0.1")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail ESMTP\r\n"))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestProbeTLS(t *testing.T) {
	f := setup(t)
	ca, other := endpointtest.NewAuthority(t), endpointtest.NewAuthority(t)
	hour := time.Now().Add(time.Hour)
	pair := ca.Issue(t, hour)
	h := endpointtest.Handler()
	mutual := "tcp://" + endpointtest.TLS(t, pair, ca, h)
	oneWay := "tcp://" + endpointtest.TLS(t, pair, nil, h)
	expired := "tcp://" + endpointtest.TLS(t, ca.Issue(t, time.Now().Add(-time.Hour)), nil, h)
	foreign := other.Issue(t, hour)
	elsewhere := endpointtest.Listen(t, ownAddress(t)) // which the certificate does not name
	serverPair, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	endpointtest.Serve(t, tls.NewListener(elsewhere, &tls.Config{Certificates: []tls.Certificate{serverPair}}), h)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("who knows")})
	for _, tc := range []struct {
		name   string
		e      endpoint.Endpoint
		health Health
		reason string
	}{
		{"mutual", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: pair.Key}}, Healthy, probeHealthy},
		{"one-way", endpoint.Endpoint{Host: oneWay, TLS: &endpoint.TLS{CA: ca.PEM}}, Healthy, probeHealthy},
		{"skip-verify", endpoint.Endpoint{Host: expired, SkipTLSVerify: true}, Healthy, probeHealthy},
		{"wrong-ca", endpoint.Endpoint{Host: oneWay, TLS: &endpoint.TLS{CA: other.PEM}}, HealthUnknown, probeTLSFailed},
		{"no-client-cert", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM}}, HealthUnknown, probeTLSFailed},
		{"wrong-client-cert", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM, Cert: foreign.Cert, Key: foreign.Key}}, HealthUnknown, probeTLSFailed},
		{"expired", endpoint.Endpoint{Host: expired, TLS: &endpoint.TLS{CA: ca.PEM}}, HealthUnknown, probeTLSFailed},
		{"wrong-name", endpoint.Endpoint{Host: "tcp://" + elsewhere.Addr().String(), TLS: &endpoint.TLS{CA: ca.PEM}}, HealthUnknown, probeTLSFailed},
		{"encrypted-key", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: encrypted}}, HealthUnknown, probeInvalidTLSMaterial},
		{"cert-without-key", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert}}, HealthUnknown, probeTLSFailed},
		{"plain-to-tls", endpoint.Endpoint{Host: oneWay}, HealthUnknown, probeTLSRequired},
		{"tls-to-plain", endpoint.Endpoint{Host: "tcp://" + endpointtest.TCP(t, "127.0.0.1", h), SkipTLSVerify: true}, HealthUnknown, probeTLSFailed},
		{"bad-ca", endpoint.Endpoint{Host: oneWay, TLS: &endpoint.TLS{CA: []byte("nothing")}}, HealthUnknown, probeInvalidTLSMaterial},
		{"bad-key", endpoint.Endpoint{Host: mutual, TLS: &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: foreign.Key}}, HealthUnknown, probeInvalidTLSMaterial},
	} {
		f.put(tc.name, tc.e)
		f.wantProbe(tc.name, long, tc.health, tc.reason)
	}

	certs := t.TempDir()
	for name, data := range map[string][]byte{"ca.pem": ca.PEM, "cert.pem": pair.Cert, "key.pem": pair.Key} {
		f.write(filepath.Join(certs, name), string(data))
	}
	env := map[string]string{"DOCKER_HOST": mutual, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": certs}
	f.with(env).wantProbe("default", long, Healthy, probeHealthy)
	env["DOCKER_CERT_PATH"] = t.TempDir()
	f.with(env).wantProbe("default", long, HealthUnknown, probeInvalidTLSMaterial)
	env["DOCKER_TLS_VERIFY"] = ""
	f.with(env).wantProbe("default", long, HealthUnknown, probeTLSRequired)
}

// What a failed probe says is a cause, not what the connection looked like.
func TestProbeMessages(t *testing.T) {
	f := setup(t)
	ca, other := endpointtest.NewAuthority(t), endpointtest.NewAuthority(t)
	pair := ca.Issue(t, time.Now().Add(time.Hour))
	secure := "tcp://" + endpointtest.TLS(t, pair, ca, endpointtest.Handler())
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("who knows")})
	cut := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, tc := range map[string]struct {
		e    endpoint.Endpoint
		want string
	}{
		"cut":       {endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, cut)}, "It closed the connection without an answer."},
		"plain":     {endpoint.Endpoint{Host: secure}, "The server speaks TLS, the context does not."},
		"wrong-ca":  {endpoint.Endpoint{Host: secure, TLS: &endpoint.TLS{CA: other.PEM}}, "TLS failed: failed to verify certificate: x509: certificate signed by unknown authority."},
		"no-cert":   {endpoint.Endpoint{Host: secure, TLS: &endpoint.TLS{CA: ca.PEM}}, "TLS failed: remote error: tls: certificate required."},
		"encrypted": {endpoint.Endpoint{Host: secure, TLS: &endpoint.TLS{CA: ca.PEM, Cert: pair.Cert, Key: encrypted}}, "Invalid TLS material: client certificate: the key is encrypted."},
	} {
		f.put(name, tc.e)
		if r := f.probe(name, long); !strings.HasPrefix(r.Message, strings.TrimSuffix(tc.want, ".")) {
			t.Errorf("Probe(%q) says %q, want %q", name, r.Message, tc.want)
		}
		_, err := tc.e.Ping(t.Context())
		explained, want := Explain(t.Context(), tc.e, err).Error(), strings.TrimSuffix(tc.want, ".")
		if want[1] >= 'a' {
			want = strings.ToLower(want[:1]) + want[1:]
		}
		if !strings.HasPrefix(explained, want) {
			t.Errorf("Explain says %q, want %q", explained, want)
		}
	}
}

// A password in a host is for its engine alone.
func TestProbeHidesPassword(t *testing.T) {
	f := setup(t)
	closed := endpointtest.ClosedPort(t, "127.0.0.1")
	for name, host := range map[string]string{
		"healthy": "tcp://user:secret@" + endpointtest.TCP(t, "127.0.0.1", endpointtest.Handler()),
		"refused": "tcp://user:secret@" + closed,
		"http":    "http://user:secret@" + closed,
		"ssh":     "ssh://user:secret@127.0.0.1",
		"scheme":  "ftp://user:secret@127.0.0.1",
		"invalid": "tcp://user:secret%@127.0.0.1",
	} {
		f.put(name, endpoint.Endpoint{Host: host})
		for _, r := range append(f.Probe(t.Context(), name), f.with(map[string]string{"DOCKER_HOST": host}).Probe(t.Context(), "default")...) {
			if text := fmt.Sprintf("%+v", r); strings.Contains(text, "secret") {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	found, err := f.with(map[string]string{"DOCKER_HOST": "tcp://user:secret@h"}).Doctor(t.Context())
	if text := fmt.Sprintf("%+v", found); err != nil || strings.Contains(text, "secret") {
		t.Errorf("Doctor = %s, %v", text, err)
	}
}

func TestProbeHeaders(t *testing.T) {
	f := setup(t)
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Token") != "secret" {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		endpointtest.Handler().ServeHTTP(w, r)
	})
	f.put("guarded", endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, guarded)})
	f.wantProbe("guarded", long, HealthUnknown, probeHTTPError)
	f.write(f.file(), `{"HttpHeaders":{"X-Token":"secret"}}`)
	f.wantProbe("guarded", long, Healthy, probeHealthy)
}

// Headers of the environment take the place of the configured ones, as docker does it.
func TestProbeHeadersOfEnvironment(t *testing.T) {
	f := setup(t)
	var got http.Header
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		endpointtest.Handler().ServeHTTP(w, r)
	})
	f.put("seen", endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, seen)})
	f.write(f.file(), `{"HttpHeaders":{"X-Token":"configured","X-Other":"configured"}}`)
	for env, want := range map[string]string{
		"":                           "configured",
		"x-token=given":              "given",
		`"X-Token=a,b",X-Empty=`:     "a,b",
		"X-Token=first,X-Token=last": "last",
		" X-Token = v ":              " v ",
	} {
		f.with(map[string]string{"DOCKER_CUSTOM_HEADERS": env}).wantProbe("seen", long, Healthy, probeHealthy)
		if have := got.Get("X-Token"); strings.TrimSpace(have) != strings.TrimSpace(want) {
			t.Errorf("DOCKER_CUSTOM_HEADERS=%s: X-Token is %q, want %q", env, have, want)
		}
		if have := got.Get("X-Other"); (have != "") != (env == "") {
			t.Errorf("DOCKER_CUSTOM_HEADERS=%s: X-Other is %q", env, have)
		}
	}
	for _, env := range []string{"X-Token", "=x", `"`} {
		r := f.with(map[string]string{"DOCKER_CUSTOM_HEADERS": env}).wantProbe("seen", long, HealthUnknown, probeInvalidHeaders)
		if !strings.Contains(r.Message, "DOCKER_CUSTOM_HEADERS") {
			t.Errorf("%q does not tell which", r.Message)
		}
	}
	// What one shell sends is not what the choice for all of them is judged by.
	j := f.with(map[string]string{"DOCKER_CUSTOM_HEADERS": "X-Token=given"}).forJudging().Probe(t.Context(), "seen")[0]
	if j.Health != Healthy || got.Get("X-Token") != "configured" {
		t.Errorf("judged with the header %q: %+v", got.Get("X-Token"), j)
	}
}

// What others say is shown, but it does not control the terminal.
func TestProbeMessageIsPrintable(t *testing.T) {
	f := setup(t)
	f.put("rude", endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, status(500, "\x1b]0;owned\a\x1b[31mred\u202e\x00\xff ünd"))})
	r := f.wantProbe("rude", long, HealthUnknown, probeHTTPError)
	for _, c := range r.Message {
		if !unicode.IsPrint(c) {
			t.Errorf("%q has the character %U", r.Message, c)
		}
	}
	version := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		_, _ = w.Write([]byte(`{"Version":"\u001b[31m1.0"}`))
	})
	f.put("version", endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, version)})
	if r := f.probe("version", long); r.ServerVersion != " [31m1.0" {
		t.Errorf("the server's version is %q", r.ServerVersion)
	}
	if !strings.Contains(r.Message, "red") || !strings.Contains(r.Message, "ünd") {
		t.Errorf("%q lacks words", r.Message)
	}
	f.put("host", endpoint.Endpoint{Host: "unix:///tmp/\x1b[31mred\nrow"})
	if r := f.probe("host", long); r.Host != "unix:///tmp/ [31mred row" {
		t.Errorf("the host is %q", r.Host)
	}
}

// A relative path means another socket for whoever runs elsewhere, such as a supervisor.
func TestProbeRelativeSocket(t *testing.T) {
	f := setup(t)
	dir := endpointtest.Dir(t)
	t.Chdir(dir)
	f.put("missing", endpoint.Endpoint{Host: "unix://s"})
	f.wantProbe("missing", long, HealthUnknown, probeUnproven)
	f.write(filepath.Join(dir, "file"), "")
	f.put("refused", endpoint.Endpoint{Host: "unix://./file"})
	f.wantProbe("refused", long, HealthUnknown, probeUnproven)
	endpointtest.UnixAt(t, filepath.Join(dir, "s"), endpointtest.Handler())
	f.wantProbe("missing", long, Healthy, probeHealthy)
}

// Linux's abstract sockets belong to no directory.
func TestProbeAbstractSocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has abstract sockets")
	}
	f := setup(t)
	name := fmt.Sprintf("@docker-rd-test-%d", os.Getpid())
	f.put("abstract", endpoint.Endpoint{Host: "unix://" + name})
	f.wantProbe("abstract", long, Broken, probeSocketRefused)
	endpointtest.UnixAt(t, name, endpointtest.Handler())
	f.wantProbe("abstract", long, Healthy, probeHealthy)
}

func TestProbeSSH(t *testing.T) {
	socket := endpointtest.Unix(t, endpointtest.Handler())
	for _, tc := range []struct {
		name, extra string
		change      func(s *endpointtest.SSHD) error
		timeout     time.Duration
		health      Health
		reason      string
		message     string // a part of it
	}{
		{name: "healthy", timeout: long, health: Healthy, reason: probeHealthy},
		{
			name: "wrong-key", timeout: long, health: HealthUnknown, reason: probeSSHFailed,
			change: func(s *endpointtest.SSHD) error { return os.Truncate(s.Authorized, 0) },
		}, {
			name: "unknown-host-key", timeout: long, health: HealthUnknown, reason: probeSSHFailed,
			change: func(s *endpointtest.SSHD) error { return os.Truncate(s.KnownHosts, 0) },
		}, {
			name: "unknown-jump-host", extra: "Host rdtest\nProxyJump stranger\nHost stranger\nHostName 127.0.0.1", timeout: long,
			health: HealthUnknown, reason: probeSSHFailed, message: "Connection refused",
		}, {
			name: "leads-onward", timeout: long, health: HealthUnknown, reason: probeSSHOnward, message: `"ssh://u@self"`,
			change: func(s *endpointtest.SSHD) error {
				config := filepath.Join(filepath.Dir(s.Remote), "config")
				meta := filepath.Join(config, "contexts", "meta", "x")
				return errors.Join(
					os.MkdirAll(meta, 0o755), os.WriteFile(config+"/config.json", []byte(`{"currentContext":"self"}`), 0o600),
					os.WriteFile(meta+"/meta.json", []byte(`{"Name":"self","Endpoints":{"docker":{"Host":"ssh://u@self"}}}`), 0o600))
			},
		}, {
			name: "host-down", extra: "Host *\nPort 1", timeout: long, health: HealthUnknown, reason: probeSSHFailed,
		}, {
			name: "no-docker", timeout: long, health: HealthUnknown, reason: probeRemoteFailed,
			change: func(s *endpointtest.SSHD) error { return os.Remove(s.Remote + "/docker") },
		}, {
			name: "long-banner", timeout: long, health: HealthUnknown, reason: probeRemoteFailed, message: "failed (exit status 7): Line 49. The cause.",
			change: func(s *endpointtest.SSHD) error {
				return os.WriteFile(s.Remote+"/docker", []byte("#!/bin/sh\ni=0\nwhile [ $i -lt 50 ]; do echo \"Line $i.\"; i=$((i+1)); done >&2\necho The cause. >&2\nexit 7\n"), 0o755)
			},
		}, {
			name: "login-shell-talks", timeout: long, health: HealthUnknown, reason: probeNotDocker, message: "Welcome",
			change: func(s *endpointtest.SSHD) error {
				return os.WriteFile(s.Remote+"/docker", []byte("#!/bin/sh\necho Welcome\nexec cat\n"), 0o755)
			},
		}, {
			name: "ssh-missing", timeout: long, health: HealthUnknown, reason: probeSSHMissing,
			change: func(s *endpointtest.SSHD) error { return os.Setenv("PATH", s.Remote) }, // restored by the server's cleanup
		}, {
			name: "silent", timeout: short, health: HealthUnknown, reason: probeTimeout,
			change: func(s *endpointtest.SSHD) error {
				return os.WriteFile(s.Config, []byte("Host *\nProxyCommand "+s.Client+"/sleep 600\n"), 0o600)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			s := endpointtest.StartSSHD(t, socket, tc.extra)
			if tc.change != nil {
				if err := tc.change(s); err != nil {
					t.Fatal(err)
				}
			}
			f.put("remote", endpoint.Endpoint{Host: s.URL})
			r := f.wantProbe("remote", tc.timeout, tc.health, tc.reason)
			if _, end, _ := strings.Cut(r.Message, "failed: "); strings.HasPrefix(end, "Ssh:") {
				t.Errorf("ssh's own words are changed: %s", r.Message)
			}
			if !strings.Contains(r.Message, tc.message) {
				t.Errorf("%q lacks %q", r.Message, tc.message)
			}
		})
	}
}

func TestProbeContexts(t *testing.T) {
	f := setup(t)
	socket := "unix://" + endpointtest.Unix(t, endpointtest.Handler())
	f.putRaw("corrupt", `{"Name":"corrupt",`)
	f.putRaw("empty", ``)
	f.putRaw("nul", strings.Repeat("\x00", 300))
	f.putRaw("description", fmt.Sprintf(`{"Name":"description","Metadata":{"Description":[1]},"Endpoints":{"docker":{"Host":%q}}}`, socket))
	f.putRaw("no-endpoint", `{"Name":"no-endpoint","Endpoints":{}}`)
	f.putRaw("empty-host", `{"Name":"empty-host","Endpoints":{"docker":{"Host":""}}}`)
	for _, tc := range []struct {
		name, host string
		health     Health
		reason     string
	}{
		{"missing", "", Broken, probeContextNotFound},
		{"corrupt", "", HealthUnknown, probeMetadataUnreadable},
		{"empty", "", HealthUnknown, probeMetadataUnreadable},
		{"nul", "", HealthUnknown, probeMetadataUnreadable},
		{"description", "", Healthy, probeHealthy}, // only docker itself stumbles over it
		{"no-endpoint", "", HealthUnknown, probeNoEndpoint},
		{"empty-host", "", HealthUnknown, probeNoHost},
		{"npipe", "npipe:////./pipe/docker_engine", HealthUnknown, probeUnsupportedScheme},
		{"scheme", "gopher://x", HealthUnknown, probeUnsupportedScheme},
		{"no-scheme", "127.0.0.1:2375", HealthUnknown, probeNoHost},
		{"ssh-password", "ssh://u:p@h", HealthUnknown, probeInvalidAddress},
	} {
		if tc.host != "" {
			f.put(tc.name, endpoint.Endpoint{Host: tc.host})
		}
		f.wantProbe(tc.name, long, tc.health, tc.reason)
	}
}

func TestEffective(t *testing.T) {
	f := setup(t)
	host := "unix://" + endpointtest.Unix(t, endpointtest.Handler())
	for _, tc := range []struct {
		name, stored string
		env          map[string]string
		context      string // --context
		host         string // --host
		want         string
		health       Health // of what is effective
	}{
		{name: "nothing", want: "default"},
		{name: "stored", stored: "a", want: "a", health: Broken},
		{name: "DOCKER_CONTEXT", stored: "a", env: map[string]string{"DOCKER_CONTEXT": "b"}, want: "b", health: Broken},
		{name: "DOCKER_HOST", stored: "a", env: map[string]string{"DOCKER_CONTEXT": "b", "DOCKER_HOST": host}, want: "default", health: Healthy},
		{name: "--host", stored: "a", env: map[string]string{"DOCKER_HOST": "tcp://127.0.0.1:1"}, host: host, want: "default", health: Healthy},
		{name: "--context", stored: "a", env: map[string]string{"DOCKER_HOST": host}, context: "c", want: "c", health: Broken},
	} {
		f.use(tc.stored)
		o := f.with(tc.env).o
		o.Context, o.Host = tc.context, tc.host
		c := Open(o)
		if got, _ := c.InForce(); got != tc.want {
			t.Errorf("%s: effective = %q, want %q", tc.name, got, tc.want)
		}
		var current []Report
		for _, r := range c.Probe(t.Context()) {
			if r.Current {
				current = append(current, r)
			}
		}
		if len(current) != 1 || current[0].Name != tc.want || tc.health != "" && current[0].Health != tc.health {
			t.Errorf("%s: reported as current: %+v, want %q, %s", tc.name, current, tc.want, tc.health)
		}
	}
	o := f.o
	o.Context, o.Host = "c", host
	if got, _ := Open(o).InForce(); got != "" {
		t.Errorf("with --context and --host together %q is effective", got)
	}
}

// Contexts that hang are waited for together, and the reports keep their order.
func TestProbeSideBySide(t *testing.T) {
	f := setup(t)
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("hang-%02d", i)
		f.put(name, endpoint.Endpoint{Host: "unix://" + endpointtest.Unix(t, endpointtest.Never)})
		names = append(names, name)
	}
	f.healthyContext("ok")
	names = append(names, "ok")
	const limit = 3 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	reports := f.Probe(ctx, names...)
	if took := time.Since(start); took > limit+slack {
		t.Errorf("twenty hanging contexts took %s, one takes %s", took, limit)
	}
	for i, r := range reports {
		want := HealthUnknown
		if i == 20 {
			want = Healthy
		}
		if r.Name != names[i] || r.Health != want {
			t.Errorf("report %d: %+v", i, r)
		}
	}
}

// All contexts are probed whatever is damaged among them, and what is current although
// it does not exist is there too.
func TestProbeAll(t *testing.T) {
	f := setup(t)
	f.healthyContext("a")
	f.putRaw("hidden", "{")
	f.putRaw("rd", "{") // damaged, but its name can be guessed
	f.write(filepath.Join(f.o.Dir, "contexts/meta/file"), "not a context")
	f.write(filepath.Join(f.o.Dir, "contexts/meta/half-made/other"), "no metadata")
	f.use("gone")
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var got []string
	for _, r := range f.Probe(ctx) {
		got = append(got, fmt.Sprintf("%s:%s:%v", r.Name, r.Reason, r.Current))
	}
	want := "default:" // whatever this machine has there
	if len(got) != 5 || !strings.HasPrefix(got[0], want) {
		t.Fatalf("Probe = %q", got)
	}
	rest := strings.Join(got[1:], " ")
	if want := "a:Healthy:false rd:MetadataUnreadable:false gone:ContextNotFound:true :MetadataUnreadable:false"; rest != want {
		t.Errorf("Probe = %q, want %q", rest, want)
	}
}

func TestProbeOurs(t *testing.T) {
	f := setup(t)
	f.own(rd)
	m, err := f.store.GetMetadata("rd")
	if err != nil {
		t.Fatal(err)
	}
	m.Name = "copy" // docker context create --from rd copy
	if err := f.store.CreateOrUpdate(m); err != nil {
		t.Fatal(err)
	}
	if r := f.wantProbe("rd", long, Healthy, probeHealthy); !r.Ours {
		t.Error("our context is not ours")
	}
	if r := f.wantProbe("copy", long, Healthy, probeHealthy); r.Ours {
		t.Error("a copy of our context is ours")
	}
	f.goes(NoInstance)
	if r := f.Probe(t.Context(), "rd")[0]; r.Ours {
		t.Error("the context of an instance that is not known is ours")
	}
}

// A probe writes nothing, not even a directory.
func TestProbeChangesNothing(t *testing.T) {
	dir := endpointtest.Dir(t)
	c := Open(Options{Dir: filepath.Join(dir, "docker"), LockFile: filepath.Join(dir, "l"), RecordFile: filepath.Join(dir, "r")})
	c.Probe(t.Context(), "default", "rd")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("after a probe there is %v (%v)", entries, err)
	}
}
