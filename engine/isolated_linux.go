package engine

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"

	"github.com/docker-rd/docker-rd/engine/isolated"
	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
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

// SetLimits limits the instance's engine, if it runs, as the settings of i say, whatever those
// on disk are. Other drivers' have no control groups of ours.
func SetLimits(i *instance.Instance) error {
	switch i.Settings.Driver {
	case instance.DriverDockerd, instance.DriverRootless:
	default:
		return nil
	}
	driver, err := newIsolated(i, nil)
	if err != nil || driver.Life() != Alive {
		return err
	}
	if err := driver.SetLimits(); err != nil {
		return fmt.Errorf("instance %q: %w", i.Name, err)
	}
	return nil
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

// isolatedLacks is [Lacks] for these drivers.
func isolatedLacks(i *instance.Instance) []error {
	if i.Settings.Driver == instance.DriverRootless {
		if driver, err := newIsolated(i, nil); err == nil {
			return isolated.UserLacks(driver.Config)
		}
	}
	return nil
}

// RemoveData removes what is not below a stopped instance's directories, and those data of its engine
// that the user can't remove: containers have made files as other users.
// [instance.Instance.Remove] removes the rest.
func RemoveData(i *instance.Instance) error {
	switch i.Settings.Driver {
	case instance.DriverDockerd:
		if err := isolated.RemoveGroups(i.UID); err != nil {
			return fmt.Errorf("remove instance %q: %w", i.Name, err)
		}
	case instance.DriverRootless:
		if err := isolated.RemoveTree(i.Paths.Data); err != nil {
			return failure.WithHint(fmt.Errorf("remove instance %q: %w", i.Name, err), "`sudo rm -rf %s`", i.Paths.Data)
		}
	}
	return nil
}
