package portproxy

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PortsEnv names the environment variable with the directory in which each running proxy has a
// file, named by its pid, with the port. A file that is left shows that the proxy was killed,
// which dockerd does not notice.
const PortsEnv = "DOCKER_RD_PORTS"

// announce makes the proxy's file and returns a function that removes it. A proxy of dockerd's
// works without it; by an owner it is found.
func (c config) announce(dir string) (forget func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	path := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	text := c.announced() + "\n" + c.Owner
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil && c.Owner != "" {
		return nil, err
	}
	return func() { _ = os.Remove(path) }, nil
}

// announced is the port in the proxy's file.
func (c config) announced() string { return c.Host.String() + "/" + c.Proto }

// ReadAnnouncement reads a proxy's file: the port, as ADDRESS:PORT/PROTOCOL, and the owner.
func ReadAnnouncement(text []byte) (port, owner string) {
	port, owner, _ = strings.Cut(string(text), "\n")
	return port, owner
}
