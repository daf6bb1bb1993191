// Package isolated runs dockerds, and containerds, in namespaces of their own
// on Linux: root's, and an ordinary user's.
//
// Each engine has a private network namespace, connected to the outside by
// slirp4netns, and a private mount namespace, in which the few paths that dockerd
// shares with every other engine of the machine (/run/containerd, /etc/docker,
// /etc/resolv.conf, /run/docker.sock) are its own. So any number of engines live
// beside a host engine, and none touches the host's bridges, routes or iptables.
// Published ports are served by a small proxy program (Config.Proxy) that dockerd
// starts for each and that listens in the host's network namespace.
//
// The engine does not depend on the process that started it: the next one adopts
// it. Every process of an engine carries its uid in its environment, which is how
// the end of all of them is made certain. An ordinary user's engine has a user and a pid
// namespace besides, and the kernel ends all of it with the first process there.
package isolated

import (
	"log/slog"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/systemd"
)

// A Config is an instance, and what its driver needs besides.
type Config struct {
	*instance.Instance

	Proxy string       // path of docker-rd-proxy, or of a program that calls Init
	Log   *slog.Logger // not nil

	scopes *systemd.Manager // gives the next start control groups that are delegated to the user; nil: none
}

// rootless reports whether the engine is an ordinary user's, in a user namespace.
func (c *Config) rootless() bool { return c.Settings.Driver == instance.DriverRootless }

// isContainerd reports whether the engine is a containerd instead of a dockerd.
func (c *Config) isContainerd() bool { return c.Settings.Engine == instance.KindContainerd }

// Limits bound what an engine and its containers use together.
type Limits = processes.Limits

func (c *Config) limits() Limits {
	return Limits{Memory: c.Settings.Memory, NanoCPUs: c.Settings.NanoCPUs, Pids: c.Settings.PidsLimit}
}

// maxExecRoot and maxSocket are how long the paths may be, in bytes: dockerd makes
// sockets below its exec-root, and a unix socket's address holds 104 bytes on macOS
// and 108 on Linux, with the final zero.
const (
	maxExecRoot = 71
	maxSocket   = 103
)
