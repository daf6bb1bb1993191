package portproxy

import (
	"os"
	"path/filepath"
	"strconv"
)

// PortsEnv names the environment variable with the directory in which each running proxy has a
// file, named by its pid, with the port. A file that is left shows that the proxy was killed,
// which dockerd does not notice.
const PortsEnv = "DOCKER_RD_PORTS"

// announce makes the proxy's file and returns a function that removes it. The proxy works without
// it.
func (c Config) announce(dir string) (forget func()) {
	if dir == "" {
		return func() {}
	}
	path := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	_ = os.WriteFile(path, []byte(c.Host.String()+"/"+c.Proto), 0o600)
	return func() { _ = os.Remove(path) }
}
