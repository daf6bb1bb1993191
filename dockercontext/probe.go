package dockercontext

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/containerd/errdefs"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/pause"
)

// DefaultTimeout bounds a probe whose context has no deadline.
const DefaultTimeout = 3 * time.Second

// proofPause is the time between the two looks that prove a context broken: longer than an
// engine takes to replace its socket.
const proofPause = 150 * time.Millisecond

// Health is what a probe found.
type Health string

// What a probe can find.
const (
	// Healthy: a Docker engine answered.
	Healthy Health = "healthy"
	// Broken: two looks proved that nothing can answer.
	Broken Health = "broken"
	// HealthUnknown: everything else. It may work later, or for others.
	HealthUnknown Health = "unknown"
)

// Reasons of probes. Scripts may rely on them.
const (
	probeHealthy = "Healthy"

	// Proofs that a context is broken.
	probeContextNotFound   = "ContextNotFound"
	probeSocketMissing     = "SocketMissing"
	probeSocketRefused     = "SocketRefused"
	probePipeMissing       = "PipeMissing"
	probeConnectionRefused = "ConnectionRefused" // on a loopback address

	// Everything else.
	probeTimeout            = "Timeout"
	probeUnproven           = "Unproven" // broken, but not for certain or for everybody
	probePermissionDenied   = "PermissionDenied"
	probeRefusedElsewhere   = "RefusedElsewhere"
	probeUnreachable        = "Unreachable"
	probeHostNotFound       = "HostNotFound"
	probeTLSFailed          = "TLSFailed"
	probeTLSRequired        = "TLSRequired"
	probeInvalidTLSMaterial = "InvalidTLSMaterial"
	probeHTTPError          = "HTTPError"
	probeNotDocker          = "NotDocker"
	probeSSHMissing         = "SSHMissing"
	probeSSHFailed          = "SSHFailed"
	probeSSHDropped         = "SSHDropped"   // before anybody could log in
	probeSSHOnward          = "SSHOnward"    // the docker on the other side goes on over ssh
	probeRemoteFailed       = "RemoteFailed" // ssh worked, docker on the other side did not
	probeNoEndpoint         = "NoEndpoint"
	probeNoHost             = "NoHost"
	probeInvalidAddress     = "InvalidAddress"
	probeSocketPathTooLong  = "SocketPathTooLong"
	probeUnsupportedScheme  = "UnsupportedScheme"
	probeInvalidHeaders     = "InvalidHeaders"
	probeMetadataUnreadable = "MetadataUnreadable"
	probeConnectFailed      = "ConnectFailed"
)

// A Report is the result of a probe.
type Report struct {
	Name          string `json:"name"`
	Host          string `json:"host"`
	Scheme        string `json:"scheme"`
	Health        Health `json:"health"`
	Reason        string `json:"reason"` // a word for programs; docs/contexts.md lists them
	Message       string `json:"message"`
	APIVersion    string `json:"apiVersion"`
	ServerVersion string `json:"serverVersion"`
	LatencyMs     int64  `json:"latencyMs"`
	// ClaimedFor is the context of the instance that has claimed this socket, or "".
	ClaimedFor string `json:"claimedFor,omitempty"`
	// Current says that it is the effective context, Ours that it belongs to an instance of
	// docker rd.
	Current bool `json:"current"`
	Ours    bool `json:"ours"`
}

// Probe probes the named contexts concurrently; without names, all: "default", the stored ones,
// and the effective one even if it does not exist. The reports are in the order of the names. It
// returns at most 100 ms after the deadline of ctx ([DefaultTimeout] without one), and leaves no
// connection and no process behind. It never prompts and changes nothing.
func (c *Config) Probe(ctx context.Context, names ...string) []Report {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	effective, _ := c.InForce()
	var damaged []Report
	if len(names) == 0 {
		names, damaged = c.everyName(effective)
	}
	results := make([]chan Report, len(names))
	for i, name := range names {
		results[i] = make(chan Report, 1) // a late probe must not wait for a receiver
		go func() { results[i] <- c.probe(ctx, name) }()
	}
	// A ping keeps its deadline itself. The grace is for what can't be interrupted, such as
	// reading metadata on a file system that hangs.
	const grace = 80 * time.Millisecond
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(late) }) })
	defer stop()
	reports := make([]Report, len(names))
	for i, name := range names {
		select {
		case reports[i] = <-results[i]:
			continue
		case <-late:
		}
		select {
		case reports[i] = <-results[i]:
		default:
			reports[i] = Report{Name: name, Health: HealthUnknown, Reason: probeTimeout, Message: "It did not answer in time."}
		}
	}
	reports = append(reports, damaged...)
	for i := range reports {
		reports[i].Current = effective != "" && reports[i].Name == effective
	}
	return reports
}

// Names returns the names that [Config.Probe] probes by default.
func (c *Config) Names() []string {
	effective, _ := c.InForce()
	names, _ := c.everyName(effective)
	return names
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

// everyName returns the names of all contexts, and reports for damaged ones without a name.
func (c *Config) everyName(effective string) (names []string, damaged []Report) {
	names = []string{endpoint.DefaultContext}
	entries, err := c.list()
	if err != nil {
		damaged = append(damaged, Report{
			Health: HealthUnknown, Reason: probeMetadataUnreadable, Message: sentence(err),
		})
	}
	for _, e := range entries {
		if e.Name == "" {
			damaged = append(damaged, Report{
				Health: HealthUnknown, Reason: probeMetadataUnreadable,
				Message: sentence(fmt.Errorf("%s: %w", e.Path, e.Err)),
			})
			continue
		}
		names = append(names, e.Name)
	}
	if effective != "" && !slices.Contains(names, effective) {
		names = append(names, effective)
	}
	return names, damaged
}

// probe looks once, and again to prove that a context is broken.
func (c *Config) probe(ctx context.Context, name string) Report {
	_, ours := c.OwnerOf(name)
	r := c.look(ctx, name)
	if r.Health == Broken {
		if pause.For(ctx, proofPause) == nil {
			r = c.look(ctx, name)
		}
		if ctx.Err() != nil && r.Health != Healthy {
			r.Message = "There was no time to look twice: " + lowerFirst(r.Message)
			r.Health, r.Reason = HealthUnknown, probeUnproven
		}
	}
	r.Ours = ours
	return r
}

// glance is one look, for at most [DefaultTimeout].
func (c *Config) glance(ctx context.Context, name string) Report {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	return c.look(ctx, name)
}

func (c *Config) look(ctx context.Context, name string) Report {
	r := Report{Name: name}
	e, err := c.Endpoint(name)
	r.Host, r.Scheme = printable(e.Shown()), e.Scheme()
	claimant, claimed := c.claimant(e)
	if err == nil && claimed && c.judging {
		r.Health, r.Reason = Broken, probeSocketMissing
		r.Message = fmt.Sprintf("Without docker rd, which has claimed the socket for context %q, nobody listens there.", claimant.Context)
		return r
	}
	if err == nil {
		var pong endpoint.Pong
		start := time.Now()
		pong, err = e.Ping(ctx)
		r.LatencyMs = time.Since(start).Milliseconds()
		r.APIVersion, r.ServerVersion = pong.APIVersion, printable(pong.ServerVersion)
	}
	v := classify(ctx, e, err)
	r.Health, r.Reason, r.Message = v.health, v.reason, e.Hide(printable(v.message))
	if claimed {
		r.ClaimedFor = claimant.Context
		r.Message += fmt.Sprintf(" Its socket leads to the engine of context %q: docker rd has claimed it.", claimant.Context)
	}
	return r
}

// Explain returns the error of a ping with a text that says why the endpoint could not be used. Nil
// stays nil. Ctx is the ping's: if it has ended, that is the reason.
func Explain(ctx context.Context, e endpoint.Endpoint, err error) error {
	if err == nil {
		return nil
	}
	message := e.Hide(printable(classify(ctx, e, err).message))
	return &explained{err, Clause(message)}
}

type explained struct {
	error
	text string
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.error }

// A verdict is what the result of a ping means.
type verdict struct {
	health          Health
	reason, message string
}

func unknown(reason, format string, args ...any) verdict {
	return verdict{HealthUnknown, reason, fmt.Sprintf(format, args...)}
}

func broken(reason, format string, args ...any) verdict {
	return verdict{Broken, reason, fmt.Sprintf(format, args...)}
}

// knownErrors are errors that have one meaning each: nothing is known of the context's engine. The
// message is that of the error if there is none here.
var knownErrors = []struct {
	err             error
	reason, message string
}{
	{endpoint.ErrCorrupt, probeMetadataUnreadable, ""},
	{endpoint.ErrNoEndpoint, probeNoEndpoint, "The context describes no Docker engine."},
	{endpoint.ErrNoHost, probeNoHost, "The context's docker endpoint has no host."},
	{endpoint.ErrTLSMaterial, probeInvalidTLSMaterial, ""},
	{endpoint.ErrScheme, probeUnsupportedScheme, ""},
	{endpoint.ErrPathTooLong, probeSocketPathTooLong, ""},
	{errHeaders, probeInvalidHeaders, ""},
	{endpoint.ErrAddress, probeInvalidAddress, ""},
	{endpoint.ErrNotDocker, probeNotDocker, "Something answered that is not a Docker engine."},
	{endpoint.ErrSSHNoise, probeNotDocker, ""},
	{endpoint.ErrSSHMissing, probeSSHMissing, "The program ssh is not on the PATH."},
}

// classify interprets the result of a ping. Only what is certain is broken.
func classify(ctx context.Context, e endpoint.Endpoint, err error) verdict {
	var status *endpoint.StatusError
	switch {
	case err == nil:
		return verdict{Healthy, probeHealthy, "A Docker engine answered."}
	case ctx.Err() != nil:
		return unknown(probeTimeout, "It did not answer in time.")
	case errors.As(err, &status): // before errdefs: a page that is not found is no missing context
		return classifyStatus(status)
	case errdefs.IsNotFound(err):
		return broken(probeContextNotFound, "There is no such context.")
	}
	for _, known := range knownErrors {
		if errors.Is(err, known.err) {
			return unknown(known.reason, "%s", cmp.Or(known.message, sentence(err)))
		}
	}
	var ssh *endpoint.SSHError
	switch {
	case e.Host == "":
		return unknown(probeMetadataUnreadable, "%s", sentence(err))
	case errors.Is(err, endpoint.ErrSSHOnward):
		return unknown(probeSSHOnward, "%s: it may lead back here, and is not followed.", strings.TrimSuffix(sentence(err), "."))
	case errors.As(err, &ssh):
		return classifySSH(ssh)
	case tlsFailure(err) != nil:
		return unknown(probeTLSFailed, "TLS failed: %s", line(strings.TrimPrefix(tlsFailure(err).Error(), "tls: ")))
	}
	return classifyDial(ctx, e, err)
}

// classifyStatus interprets an answer that is no success.
func classifyStatus(err *endpoint.StatusError) verdict {
	if err.Status == http.StatusBadRequest && strings.Contains(err.Message, "HTTPS server") {
		return unknown(probeTLSRequired, "The server speaks TLS, the context does not.")
	}
	return unknown(probeHTTPError, "It answered with %s.", strings.TrimSuffix(err.Error(), "."))
}

func classifySSH(err *endpoint.SSHError) verdict {
	switch cause := line(err.Cause()); {
	case err.Dropped():
		return unknown(probeSSHDropped, "The ssh server took no more connections at this time: %s", cause)
	case err.Local():
		return unknown(probeSSHFailed, "The ssh connection failed: %s", cause)
	default:
		return unknown(probeRemoteFailed, "There is no docker on the other side, or it failed (exit status %d): %s", err.Status, cause)
	}
}

// classifyDial interprets why there was no answer.
func classifyDial(ctx context.Context, e endpoint.Endpoint, err error) verdict {
	_, address, _ := strings.Cut(e.Host, "://")
	var dns *net.DNSError
	switch scheme := e.Scheme(); {
	case errors.As(err, &dns):
		return unknown(probeHostNotFound, "%s", sentence(dns))
	case scheme == "unix" && isRelative(address) && (isMissing(err) || isRefused(err)):
		return unknown(probeUnproven, "Nobody listens on the socket %s, whose path is relative: elsewhere it means another one.", address)
	case scheme == "unix" && isMissing(err):
		return broken(probeSocketMissing, "The socket %s does not exist.", address)
	case scheme == "unix" && isRefused(err):
		return broken(probeSocketRefused, "Nobody listens on the socket %s.", address)
	case scheme == "npipe" && errors.Is(err, os.ErrNotExist):
		return broken(probePipeMissing, "The pipe %s does not exist.", address)
	case errors.Is(err, os.ErrPermission):
		return unknown(probePermissionDenied, "%s", sentence(err))
	case isRefused(err) && refusedOnLoopback(ctx, e.Host, err):
		return broken(probeConnectionRefused, "Nobody listens on %s.", address)
	case isRefused(err):
		return unknown(probeRefusedElsewhere, "%s refuses connections.", address)
	case errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH):
		return unknown(probeUnreachable, "%s", sentence(err))
	case isTimeout(err):
		return unknown(probeTimeout, "It did not answer in time.")
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		return unknown(probeConnectFailed, "It closed the connection without an answer.")
	}
	return unknown(probeConnectFailed, "%s", sentence(err))
}

func isMissing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isRefused reports whether a connection was refused. Sockets of Windows have error numbers of their
// own, which nothing else has elsewhere.
func isRefused(err error) bool {
	const wsaConnRefused = syscall.Errno(10061)
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, wsaConnRefused)
}

// isRelative reports whether a socket's path depends on the working directory. Abstract sockets
// ("@") are in no directory.
func isRelative(path string) bool {
	return !filepath.IsAbs(path) && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "@")
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// tlsFailure returns how the TLS handshake failed, here or over there; nil if it did not.
func tlsFailure(err error) error {
	// crypto/tls reports alerts this way; their type is its own. net/http may put words before them.
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return op
	}
	if errors.Is(err, http.ErrSchemeMismatch) ||
		errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(tls.RecordHeaderError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.CertificateInvalidError)) {
		return err
	}
	return nil
}

// refusedOnLoopback reports whether this very machine refused the connection: not through a
// proxy, and by a name with loopback addresses only.
func refusedOnLoopback(ctx context.Context, host string, err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "dial" {
		return false
	}
	if a, ok := op.Addr.(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return false
	}
	u, err := url.Parse(host)
	if err != nil {
		return false
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	return err == nil && !slices.ContainsFunc(addrs, func(a net.IPAddr) bool { return !a.IP.IsLoopback() })
}

func sentence(err error) string {
	text := line(err.Error())
	return strings.ToUpper(text[:1]) + text[1:]
}

// line turns the output of a program into the end of a sentence.
func line(text string) string {
	text = cmp.Or(strings.Join(strings.Fields(printable(text)), " "), "no reason was given")
	if !strings.ContainsAny(text[len(text)-1:], ".!?") {
		text += "."
	}
	return text
}

// printable replaces control characters, which could control the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// Clause returns a message of this package, which is a sentence, as a part of another sentence.
func Clause(message string) string {
	return strings.TrimSuffix(lowerFirst(message), ".")
}

// lowerFirst returns a sentence to follow a colon. An abbreviation stays, such as TLS.
func lowerFirst(s string) string {
	if s == "" || len(s) > 1 && 'A' <= s[1] && s[1] <= 'Z' {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
