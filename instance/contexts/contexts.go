// Package contexts connects package instance with package dockercontext, which knows instances as
// owners of contexts.
package contexts

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/session"
)

// Timeout bounds changes of the Docker configuration: a probe of the previous context, and the
// wait for the promotion lock.
const Timeout = 10 * time.Second

// Owner returns the instance as the owner of its context; the zero Owner if it has none of its
// own.
func Owner(i *instance.Instance) dockercontext.Owner {
	if !i.OwnsContext() {
		return dockercontext.Owner{}
	}
	return dockercontext.Owner{UID: i.UID, Context: i.Context()}
}

// Description describes the instance's context in docker's list.
func Description(i *instance.Instance) string { return "docker rd instance " + i.Name }

// Config returns the Docker configuration that the instance was created under, as seen without
// Docker's environment variables.
func Config(i *instance.Instance) (*dockercontext.Config, error) {
	return ConfigWhile(i, nil)
}

// ConfigWhile is [Config] for the instance's supervisor: up reports whether the engine is up, nil
// looks at the state file.
func ConfigWhile(i *instance.Instance, up func() bool) (*dockercontext.Config, error) {
	o, err := Options(i.DockerConfig)
	if err != nil {
		return nil, err
	}
	if up != nil {
		o.Owners = supervised{o.Owners, Owner(i), up}
	}
	return dockercontext.Open(o), nil
}

// Options returns the options for a Docker configuration directory, with its promotion lock and
// record.
func Options(dir string) (dockercontext.Options, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return dockercontext.Options{}, err
	}
	sum := sha256.Sum256([]byte(realDir(dir)))
	base := filepath.Join(roots.PromotionDir(), hex.EncodeToString(sum[:8]))
	return dockercontext.Options{
		Dir:        dir,
		LockFile:   base + ".lock",
		RecordFile: base + ".json",
		Owners:     owners{roots, dir},
		Sockets:    defaultSockets(),
		Claims: claim.Book{
			File: filepath.Join(roots.PromotionDir(), "sockets.json"),
			Lock: filepath.Join(roots.PromotionDir(), "sockets.lock"),
		},
	}, nil
}

// SocketsEnv is the environment variable with other default sockets, a list like PATH; empty for
// none. Relative paths do not count: they lead elsewhere for each process.
const SocketsEnv = "DOCKER_RD_DEFAULT_SOCKETS"

// defaultSockets returns the default sockets that this user may claim.
func defaultSockets() []string {
	if list, ok := os.LookupEnv(SocketsEnv); ok {
		return slices.DeleteFunc(filepath.SplitList(list), func(path string) bool { return !filepath.IsAbs(path) })
	}
	switch os.Geteuid() {
	case -1: // Windows, where programs look for a pipe
		return nil
	case 0:
		return []string{"/var/run/docker.sock"}
	}
	var sockets []string
	if dir := session.RuntimeDir(); dir != "" {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		sockets = append(sockets, filepath.Join(home, ".docker", "run", "docker.sock"))
	}
	return sockets
}
