package engine

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"

	"github.com/docker-rd/docker-rd/engine/isolated"
	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/portproxy"
	"github.com/docker-rd/docker-rd/internal/programs"
)

// RunHelper becomes one of the drivers' helper programs, and does not return, if the process
// was started as one.
func RunHelper() { namespaces.RunHelper() }

// newIsolated returns the driver that runs a daemon of our own in namespaces.
func newIsolated(i *instance.Instance, log *slog.Logger) (isolatedDriver, error) {
	proxy, err := proxyPath()
	if err != nil {
		return isolatedDriver{}, fmt.Errorf("instance %q: find %s: %w", i.Name, portproxy.Name, err)
	}
	return isolatedDriver{&isolated.Config{Instance: i, Proxy: proxy, Log: log}, ownSocket(i.Socket())}, nil
}

// isolatedDriver are the drivers DriverDockerd and DriverRootless.
type isolatedDriver struct {
	*isolated.Config
	ownSocket
}

// proxyPath returns the program that serves published ports: the one beside docker-rd (links
// in docker's plugin directories and on the PATH are resolved), or docker-rd itself if it was
// installed alone. That costs 2.4 MB of memory a port, the lean one 0.8.
func proxyPath() (string, error) {
	exe, err := programs.Self()
	if err != nil {
		return "", err
	}
	if lean, err := exec.LookPath(filepath.Join(filepath.Dir(exe), portproxy.Name)); err == nil {
		return lean, nil
	}
	return exe, nil
}
