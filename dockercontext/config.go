package dockercontext

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/context/store"

	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/dockercontext/configfile"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// Options describe a Docker configuration and how docker would see it.
type Options struct {
	// Dir is the Docker configuration directory. It need not exist.
	Dir string
	// LockFile and RecordFile are the promotion lock and record for this directory, both in one
	// directory, which is made. They must outlast a logout.
	LockFile, RecordFile string
	// Getenv reads the environment, which may override the stored current context. Nil is an
	// empty one, as a supervisor has it.
	Getenv func(string) string
	// Context and Host are docker's flags --context and --host.
	Context, Host string
	// Default, if set, is what docker resolves the context "default" from, if there are flags
	// for that.
	Default *endpoint.Default
	// Sockets are the default sockets, for [Config.Claim]. Claims says which are claimed.
	Sockets []string
	Claims  claim.Book
	// Owners looks up docker rd's instances. Nil knows none.
	Owners Owners
}

// A Config is one Docker configuration: its contexts and its current one.
type Config struct {
	o     Options
	store *store.ContextStore
	// judging makes probes ignore the engines behind our own claims: they say nothing of the
	// health of others.
	judging bool
}

// Open returns the configuration that o describes. It reads nothing yet.
func Open(o Options) *Config {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Owners == nil {
		o.Owners = noOwners{}
	}
	return &Config{o: o, store: endpoint.OpenStore(o.Dir)}
}

// Dir returns the Docker configuration directory.
func (c *Config) Dir() string { return c.o.Dir }

func (c *Config) file() string { return filepath.Join(c.o.Dir, "config.json") }

// Current returns the stored current context exactly as in config.json: "" if none is set. With
// an error, a *[configfile.RefusedError], it returns the one that docker goes on with.
func (c *Config) Current() (string, error) {
	current, err := configfile.Current(c.file())
	return current.Name, err
}

// named returns the context that a stored value means.
func named(stored string) string {
	if stored == "" {
		return endpoint.DefaultContext
	}
	return stored
}

// InForce returns the context that docker would use, like resolveContextName of
// docker/cli/cli/command, and what names it: "--context", "--host", "DOCKER_HOST",
// "DOCKER_CONTEXT", or "" for config.json. The name is "" if docker refuses. A config.json that
// can't be read is ignored, as docker does after a warning.
func (c *Config) InForce() (name, by string) {
	switch {
	case c.o.Context != "" && c.o.Host != "":
		return "", "--context" // they exclude each other
	case c.o.Context != "":
		return c.o.Context, "--context"
	case c.o.Host != "":
		return endpoint.DefaultContext, "--host"
	}
	switch by := c.EnvOverride(); by {
	case hostEnv:
		return endpoint.DefaultContext, by
	case contextEnv:
		return c.o.Getenv(by), by
	}
	current, _ := c.Current()
	return named(current), ""
}

// The environment variables that override the stored current context.
const hostEnv, contextEnv = "DOCKER_HOST", "DOCKER_CONTEXT"

// EnvOverride returns the environment variable that overrides the stored current
// context, or "".
func (c *Config) EnvOverride() string {
	for _, name := range []string{hostEnv, contextEnv} {
		if c.o.Getenv(name) != "" {
			return name
		}
	}
	return ""
}

// Endpoint returns the endpoint of a context or of "default", with the headers that config.json
// or the environment adds to requests. For a missing context the error is NotFound of
// containerd/errdefs; see internal/endpoint for others.
func (c *Config) Endpoint(name string) (endpoint.Endpoint, error) {
	var e endpoint.Endpoint
	var err error
	if name == endpoint.DefaultContext {
		e, err = endpoint.FromDefault(c.defaults())
	} else {
		e, err = endpoint.FromContext(c.store, name)
	}
	if err == nil {
		e.Headers, err = c.headers()
	}
	return e, err
}

func (c *Config) defaults() endpoint.Default {
	if c.o.Default != nil {
		return *c.o.Default
	}
	d := endpoint.DefaultFromEnv(c.o.Getenv, c.o.Dir)
	if c.o.Host != "" {
		d.Host = c.o.Host
	}
	return d
}

// headersEnv replaces the configured headers.
const headersEnv = "DOCKER_CUSTOM_HEADERS"

// errHeaders says that docker can't parse headersEnv.
var errHeaders = errors.New("not comma-separated key=value pairs")

// headers returns the headers that docker adds to each request.
func (c *Config) headers() (map[string]string, error) {
	if env := c.o.Getenv(headersEnv); env != "" {
		return parseHeaders(env)
	}
	return endpoint.ConfiguredHeaders(c.o.Dir), nil
}

// parseHeaders parses headersEnv as docker does: one CSV record of key=value pairs.
func parseHeaders(env string) (map[string]string, error) {
	pairs, err := csv.NewReader(strings.NewReader(env)).Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", headersEnv, errHeaders)
	}
	headers := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if key = strings.TrimSpace(key); key == "" || !ok {
			return nil, fmt.Errorf("%s: %w", headersEnv, errHeaders)
		}
		headers[http.CanonicalHeaderKey(key)] = value
	}
	return headers, nil
}

// forJudging returns c as decisions on the current context have to see it: without the
// environment and flags of the shell that happens to ask, and without our claims.
func (c *Config) forJudging() *Config {
	o := c.o
	o.Getenv, o.Context, o.Host, o.Default = nil, "", "", nil
	judging := Open(o)
	judging.judging = true
	return judging
}
