package portproxy

import (
	"os"
	"path/filepath"
	"strconv"
)

// PortsEnv names the environment variable that holds the directory in which each proxy has a
// file as long as it is to run: named by its process id, with the port as people write it.
// So it can be seen where one was killed: dockerd does not notice.
const PortsEnv = "DOCKER_RD_PORTS"

// announce makes the proxy's file and returns the function that removes it. The proxy
// works without it.
func (c Config) announce(dir string) (forget func()) {
	if dir == "" {
		return func() {}
	}
	path := filepath.Join(dir, strconv.Itoa(os.Getpid()))
	_ = os.WriteFile(path, []byte(c.Host.String()+"/"+c.Proto), 0o600)
	return func() { _ = os.Remove(path) }
}
