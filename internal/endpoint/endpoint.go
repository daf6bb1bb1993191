// Package endpoint connects to Docker endpoints, as described by a context, the environment or a
// URL: by an API client, a connection, or one guarded ping.
//
// It supports unix sockets, tcp with and without TLS, http and https, ssh, and named pipes on
// Windows. Endpoints are resolved by docker's own library. Only the ssh dialer is ours: docker's
// ignores deadlines and leaves processes behind.
package endpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	dcontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Errors for [errors.Is]. A missing context is containerd/errdefs's NotFound instead.
var (
	// ErrCorrupt says that a context's stored metadata can't be read.
	ErrCorrupt = errors.New("unreadable context metadata")
	// ErrNoEndpoint says that a context describes no Docker engine.
	ErrNoEndpoint = errors.New("context has no docker endpoint")
	// ErrNoHost says that a context's docker endpoint has an empty host. docker's
	// client would silently use the default socket.
	ErrNoHost = errors.New("docker endpoint has no host")
	// ErrScheme says that the host's scheme is unknown, or unknown on this system.
	ErrScheme = errors.New("unsupported scheme")
	// ErrTLSMaterial says that certificates or keys can't be read or parsed.
	ErrTLSMaterial = errors.New("invalid TLS material")
	// ErrAddress says that the host is no valid address for its scheme.
	ErrAddress = errors.New("invalid address")
)

// An Endpoint is how an engine is reached. The zero value can't be used.
type Endpoint struct {
	// Host is the engine's URL, such as "unix:///var/run/docker.sock".
	Host string
	// TLS is the TLS material. Nil means plain text, unless SkipTLSVerify is set. It
	// has no meaning for sockets, pipes and ssh.
	TLS *TLS
	// SkipTLSVerify turns TLS on and accepts any certificate of the server.
	SkipTLSVerify bool
	// SSHConfig is the path of the ssh_config(5) for an ssh host, in place of the user's and the
	// system's. Its master connection is used as long as that works.
	SSHConfig string
	// Headers are sent with each request.
	Headers map[string]string
}

// TLS holds PEM data; nil is not used. Without a CA, the system's are trusted.
type TLS struct {
	CA, Cert, Key []byte
}

// Scheme returns the scheme of the host, with http-like ones in lower case, or "" if it has none.
func (e Endpoint) Scheme() string { return scheme(e.Host) }

// Shown returns the host as it may be shown: without a password.
func (e Endpoint) Shown() string { return e.Hide(e.Host) }

// Hide returns a text, such as that of an error, without the password in the host.
func (e Endpoint) Hide(text string) string {
	if secret := password(e.Host); secret != "" {
		text = strings.ReplaceAll(text, ":"+secret+"@", ":xxxxx@")
	}
	return text
}

// password returns the password in a host, also where that is no valid URL; "" for none.
func password(host string) string {
	switch scheme(host) {
	case "unix", "npipe", "fd":
		return ""
	}
	if u, err := url.Parse(host); err == nil && u.Host != "" && u.User == nil {
		return "" // what looks like one is in the path
	}
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	user := host[:max(0, strings.LastIndexByte(host, '@'))]
	_, secret, _ := strings.Cut(user, ":")
	return secret
}

func scheme(host string) string {
	s, _, ok := strings.Cut(host, "://")
	if !ok {
		return ""
	}
	switch lower := strings.ToLower(s); lower {
	case "tcp", "http", "https", "ssh":
		return lower // docker takes these in any case, and sockets and pipes in lower case only
	}
	return s
}

// FromContext returns the endpoint of the context name in a store of [OpenStore], with its TLS
// material. Damaged metadata is [ErrCorrupt].
func FromContext(s store.Reader, name string) (Endpoint, error) {
	meta, err := s.GetMetadata(name)
	if err != nil {
		return Endpoint{}, contextError(name, err)
	}
	epMeta, err := docker.EndpointFromContext(meta)
	if err != nil {
		return Endpoint{}, fmt.Errorf("context %q: %w", name, ErrNoEndpoint)
	}
	if epMeta.Host == "" {
		return Endpoint{}, fmt.Errorf("context %q: %w", name, ErrNoHost)
	}
	ep, err := docker.WithTLSData(s, name, epMeta)
	if err != nil {
		return Endpoint{Host: epMeta.Host}, fmt.Errorf("%w: %w", ErrTLSMaterial, err)
	}
	return fromDocker(ep), nil
}

// contextError keeps NotFound and errors of the system. Everything else is damage.
func contextError(name string, err error) error {
	var pathErr *os.PathError
	if errdefs.IsNotFound(err) || errors.As(err, &pathErr) {
		return err
	}
	return fmt.Errorf("context %q: %w: %w", name, ErrCorrupt, err)
}

func fromDocker(ep docker.Endpoint) Endpoint {
	e := Endpoint{Host: ep.Host, SkipTLSVerify: ep.SkipTLSVerify}
	if ep.TLSData != nil {
		e.TLS = &TLS{CA: ep.TLSData.CA, Cert: ep.TLSData.Cert, Key: ep.TLSData.Key}
	}
	return e
}

// Variables are the environment variables that lead docker, or libraries without contexts, to an
// engine. Do not change the slice.
var Variables = []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"}

// ConfiguredHeaders returns the headers that docker adds to each request, from config.json in the
// Docker configuration directory: none if that can't be read.
func ConfiguredHeaders(configDir string) map[string]string {
	data, err := os.ReadFile(filepath.Join(configDir, "config.json"))
	if err != nil {
		return nil
	}
	var f struct{ HTTPHeaders map[string]string }
	if json.Unmarshal(data, &f) != nil {
		return nil
	}
	return f.HTTPHeaders
}

// DefaultContext is the context that docker derives from flags and the environment. It is not in
// the store.
const DefaultContext = "default"

// Default is what docker resolves the context "default" from. [DefaultFromEnv] fills
// it as docker does without flags; flags override single fields.
type Default struct {
	Host      string // as given; empty means the system's default
	TLS       bool   // use TLS
	TLSVerify bool   // use TLS and verify the server
	CAFile    string // must exist where TLS is used
	// CertFile and KeyFile may be missing unless CertRequired, KeyRequired say that
	// they were asked for by name.
	CertFile, KeyFile         string
	CertRequired, KeyRequired bool
}

// DefaultFromEnv reads DOCKER_HOST, DOCKER_TLS, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH
// (configDir by default) through getenv.
func DefaultFromEnv(getenv func(string) string, configDir string) Default {
	certs := cmp.Or(getenv("DOCKER_CERT_PATH"), configDir)
	return Default{
		Host:      getenv("DOCKER_HOST"),
		TLS:       getenv("DOCKER_TLS") != "",
		TLSVerify: getenv("DOCKER_TLS_VERIFY") != "",
		CAFile:    filepath.Join(certs, "ca.pem"),
		CertFile:  filepath.Join(certs, "cert.pem"),
		KeyFile:   filepath.Join(certs, "key.pem"),
	}
}

// DefaultHost is where the context "default" leads if nothing says otherwise. Tests change it: they
// must not depend on whether the machine has an engine there.
var DefaultHost = client.DefaultDockerHost

// FromDefault returns the endpoint of the context "default", resolved as docker's
// ClientOptions.SetDefaultOptions and resolveDefaultDockerEndpoint do.
func FromDefault(d Default) (Endpoint, error) {
	useTLS := d.TLS || d.TLSVerify
	if d.Host == "" && !useTLS {
		d.Host = DefaultHost
	}
	host, err := opts.ParseHost(useTLS, d.Host)
	if err != nil {
		return Endpoint{Host: d.Host}, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	e := Endpoint{Host: host}
	if !useTLS {
		return e, nil
	}
	e.SkipTLSVerify = !d.TLSVerify
	if !d.CertRequired && missing(d.CertFile) {
		d.CertFile = ""
	}
	if !d.KeyRequired && missing(d.KeyFile) {
		d.KeyFile = ""
	}
	e.TLS, err = readTLS(d.CAFile, d.CertFile, d.KeyFile)
	if e.TLS == nil && err == nil {
		e.TLS = &TLS{} // the system's certificates, not plain text
	}
	return e, err
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func readTLS(ca, cert, key string) (*TLS, error) {
	data, err := dcontext.TLSDataFromFiles(ca, cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLSMaterial, err)
	}
	if data == nil {
		return nil, nil
	}
	return &TLS{CA: data.CA, Cert: data.Cert, Key: data.Key}, nil
}

// TLSOptions are the TLS settings that a user gives beside a URL.
type TLSOptions struct {
	Enabled                   bool   // use TLS; implied by every other option
	SkipVerify                bool   // accept any certificate of the server
	CAFile, CertFile, KeyFile string // PEM files; empty ones are not used
}

func (o TLSOptions) used() bool { return o != TLSOptions{} }

// FromURL returns the endpoint at a user's URL: unix, tcp, http, https, ssh or npipe. It reads the
// TLS files and checks everything that needs no connection. Errors have exit status 3 and match
// [ErrScheme], [ErrAddress] or [ErrTLSMaterial].
func FromURL(host string, o TLSOptions) (Endpoint, error) {
	e := Endpoint{Host: host, SkipTLSVerify: o.SkipVerify}
	host = e.Shown()
	var err error
	switch s := e.Scheme(); {
	case host != e.Host:
		err = errPassword
	case s == "unix" || s == "npipe":
		err = checkSocket(s, strings.TrimPrefix(host, s+"://"))
	case s == "ssh":
		_, err = e.sshArgs("")
	case s == "tcp" || s == "http" || s == "https":
		e.Host, err = checkTCP(host, o.used())
	default:
		return Endpoint{}, failure.Refuse("host %q: %w", host, ErrScheme)
	}
	if err != nil {
		return Endpoint{}, failure.Refuse("host %q: %w: %w", host, ErrAddress, err)
	}
	if !o.used() && e.Scheme() != "https" {
		return e, nil
	}
	if s := e.Scheme(); s != "tcp" && s != "https" {
		return Endpoint{}, failure.Refuse("host %q: %w: a %s endpoint takes no TLS options", host, ErrTLSMaterial, s)
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return Endpoint{}, failure.Refuse("host %q: %w: tlscert and tlskey go together", host, ErrTLSMaterial)
	}
	if e.TLS, err = readTLS(o.CAFile, o.CertFile, o.KeyFile); err != nil {
		return Endpoint{}, failure.Refuse("host %q: %w", host, err)
	}
	if e.TLS == nil && !o.SkipVerify {
		return Endpoint{}, failure.Refuse("host %q: %w: no tlscacert is given (such as the system's, /etc/ssl/certs/ca-certificates.crt): "+
			"a context without it leads docker there in plain text", host, ErrTLSMaterial)
	}
	if _, err := e.tlsConfig(); err != nil {
		return Endpoint{}, failure.Refuse("host %q: %w", host, err)
	}
	return e, nil
}

var (
	errPassword = errors.New("a password in the URL is not supported")
	errUser     = errors.New("a user in the URL is not supported")
)

func checkSocket(scheme, path string) error {
	switch {
	case scheme == "npipe" && runtime.GOOS != "windows":
		return errors.New("named pipes exist on Windows only")
	case path == "":
		return errors.New("path is empty")
	case strings.Contains(path, "://"):
		return errors.New("more than one scheme")
	case strings.ContainsRune(path, 0):
		return errors.New("path contains a NUL")
	case scheme == "unix" && runtime.GOOS != "windows" && !filepath.IsAbs(path):
		return errors.New("path is not absolute")
	case scheme == "unix" && len(path) > maxSocketPath:
		return fmt.Errorf("%w: %d bytes, %d are possible", ErrPathTooLong, len(path), maxSocketPath)
	}
	return nil
}

// checkTCP returns host with docker's default port if it has none.
func checkTCP(host string, useTLS bool) (string, error) {
	u, err := url.Parse(host)
	if err != nil {
		return "", WithoutURL(err)
	}
	switch {
	case u.User != nil:
		return "", errUser
	case u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("query and fragment are not supported")
	case u.Scheme != "tcp" && strings.Trim(u.Path, "/") != "":
		return "", errors.New("only tcp supports a path")
	case u.Scheme != "tcp":
		u.Path = ""
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case host == "":
		return "", errors.New("host name is empty")
	case strings.Contains(host, ":") && !strings.HasPrefix(u.Host, "["):
		return "", errors.New("an IPv6 address belongs in brackets")
	case port == "" && useTLS:
		port = "2376" // docker's defaults
	case port == "":
		port = "2375"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	if u.Scheme == "tcp" || u.Port() != "" {
		u.Host = net.JoinHostPort(host, port)
	}
	return u.String(), nil
}
