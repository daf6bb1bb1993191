// Package isolated runs dockerds, and containerds (Config.Containerd), in namespaces of their own
// on Linux: root's, and an ordinary user's (Config.Rootless).
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
	"github.com/docker-rd/docker-rd/internal/systemd"
)

// A Config says what an engine is and where its files are. All paths are absolute.
type Config struct {
	UID  string // identifies the instance for good: letters, digits and '-'
	Name string // the instance's name, for messages

	Rootless   bool // it is an ordinary user's, in a user namespace
	Containerd bool // it is a containerd instead of a dockerd

	DataRoot string // the daemon's data; survives everything
	ExecRoot string // runtime files, at most MaxExecRoot bytes long; removed with the engine
	StateDir string // the engine's record and its private versions of shared paths

	Socket  string // where the API is served, at most MaxSocket bytes long
	LogPath string // the engine's log, appended to; rotated when it has grown too large

	Programs   string   // directory of dockerd and what it runs; "": the system's
	ConfigFile string   // the user's daemon.json, or ""
	Args       []string // the user's own arguments for the daemon
	Localhost  []uint16 // ports of the host's loopback that the engine reaches on its own loopback, by tcp

	Limits Limits

	Proxy string // path of docker-rd-proxy, or of a program that calls Init

	Nerdctl string // where to write nerdctl's configuration, for a containerd

	Log *slog.Logger // nil discards

	scopes *systemd.Manager // gives the next start control groups that are delegated to the user; nil: none
}

// Limits bound what an engine and its containers use together.
type Limits = processes.Limits

// MaxExecRoot and MaxSocket are how long the paths may be, in bytes: dockerd makes
// sockets below its exec-root, and a unix socket's address holds 104 bytes on macOS
// and 108 on Linux, with the final zero.
const (
	MaxExecRoot = 71
	MaxSocket   = 103
)

func (c *Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}
