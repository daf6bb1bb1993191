package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/portproxy"
)

// Names in the directory of the engine's private versions of shared paths.
const (
	containerdTOML = "containerd.toml" // the configuration containerd reads
	ttrpcSuffix    = ".ttrpc"          // of the socket by which shims report
)

// pluginDirs are where plugins for networks are on a host.
var pluginDirs = []string{"/usr/lib/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/local/libexec/cni", "/opt/cni/bin"}

// containerdHostDirs are directories of the host that plugins for networks use by name.
var containerdHostDirs = []string{"/opt/containerd", "/var/lib/cni"}

// containerd is the program of an engine that is a containerd, set up for nerdctl and plugins for
// networks.
func (c *Config) containerd() program {
	return program{
		comm:           "containerd",
		maxSocket:      maxSocket - len(ttrpcSuffix),
		own:            map[string]string{"--root": c.containerdRoot(), "--state": c.containerdState()},
		dirs:           []string{c.containerdRoot(), c.containerdState(), c.cniState()},
		hostDirs:       containerdHostDirs,
		copyUp:         []string{"/etc", "/var/lib"},
		binds:          []namespaces.Bind{{Source: c.cniState(), Target: "/var/lib/cni", Optional: true}},
		hide:           []string{"nerdctl/", "buildkit/"},
		options:        c.containerdOptions,
		prepare:        c.prepareContainerd,
		stopContainers: c.stopContainers,
		// An ordinary user's containers end with the engine's first process.
		rejoins: func(*daemonOptions) bool { return !c.rootless() },
		container: func(shim int) string {
			return containerd.Key(processes.Argument(shim, "-namespace"), processes.Argument(shim, "-id"))
		},
	}
}

func (c *Config) containerdRoot() string  { return filepath.Join(c.Paths.Data, "containerd") }
func (c *Config) containerdState() string { return filepath.Join(c.Paths.Exec(), "containerd") }

// cniState is what plugins for networks remember: which addresses are taken.
func (c *Config) cniState() string { return filepath.Join(c.Paths.Data, "cni", "state") }

// reservedContainerd are arguments that belong to docker rd.
var reservedContainerd = []string{"config", "c", "address", "a", "root", "state", "help", "h", "version", "v"}

// containerdOptions implements [program.options].
func (c *Config) containerdOptions() (*daemonOptions, error) {
	for _, arg := range c.Settings.EngineArgs {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		for _, reserved := range reservedContainerd {
			if strings.HasPrefix(arg, "-") && name == reserved {
				return nil, failure.WithHint(failure.Refuse("engine argument %s is set by docker rd", arg), "leave it out")
			}
		}
		if arg == "" || !strings.HasPrefix(arg, "-") && len(c.Settings.EngineArgs) == 1 {
			return nil, failure.WithHint(failure.Refuse("engine argument %q is not an option of containerd", arg), "leave it out")
		}
	}
	return &daemonOptions{args: c.Settings.EngineArgs}, nil
}

// prepareContainerd implements [program.prepare]. It writes a configuration of version 2, which
// later versions of containerd take too.
func (c *Config) prepareContainerd(*launch) ([]string, error) {
	config := fmt.Sprintf(`version = 2
# The kubelet's: it would look for networks of its own. Versions call it differently.
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = %s
[ttrpc]
  address = %s
# On a busy machine a shim takes longer than the 2 and 5 s by default. One that has not said its
# task's state has none, and one that was not heard at the start is killed with its container.
[timeouts]
  "io.containerd.timeout.task.state" = "10s"
  "io.containerd.timeout.shim.load" = "30s"
`, strconv.Quote(c.Socket()), strconv.Quote(c.Socket()+ttrpcSuffix))
	if err := os.WriteFile(c.private(containerdTOML), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := c.linkPlugins(); err != nil {
		return nil, err
	}
	// A containerd that had no room to write its id would never have one.
	id := filepath.Join(c.containerdRoot(), "io.containerd.grpc.v1.introspection", "uuid")
	if info, err := os.Stat(id); err == nil && info.Size() == 0 {
		if err := os.Remove(id); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(c.Paths.NerdctlConfig(), []byte(c.nerdctl()), 0o600); err != nil {
		return nil, err
	}
	return append([]string{"--config", c.private(containerdTOML), "--root", c.containerdRoot(), "--state", c.containerdState()}, c.Settings.EngineArgs...), nil
}

// plugins is the directory with the plugins for networks.
func (c *Config) plugins() string { return c.private(portproxy.PluginDir) }

// plugin is the one that publishes ports, which is ours.
func (c *Config) plugin() string { return filepath.Join(c.plugins(), portproxy.PluginName) }

// linkPlugins makes the directory with the plugins for networks: ours, and the host's.
func (c *Config) linkPlugins() error {
	if err := errors.Join(os.RemoveAll(c.plugins()), os.Mkdir(c.plugins(), 0o700), os.Symlink(c.private(proxyPlace), c.plugin())); err != nil {
		return err
	}
	for _, dir := range pluginDirs {
		found, _ := os.ReadDir(dir)
		for _, f := range found {
			name := f.Name()
			if name == portproxy.PluginName {
				name += portproxy.RulesSuffix
			}
			err := os.Symlink(filepath.Join(dir, f.Name()), filepath.Join(c.plugins(), name))
			if err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// nerdctl returns a configuration by which nerdctl uses the engine, from within its namespaces.
func (c *Config) nerdctl() string {
	var b strings.Builder
	for _, setting := range [][2]string{
		{"address", c.Socket()}, {"data_root", filepath.Join(c.Paths.Data, "nerdctl")}, {"cni_path", c.plugins()},
		{"cni_netconfpath", filepath.Join(c.Paths.Data, "cni", "net.d")}, {"cgroup_manager", "cgroupfs"},
	} {
		fmt.Fprintf(&b, "%s = %s\n", setting[0], strconv.Quote(setting[1]))
	}
	return b.String()
}

// stopContainers implements [program.stopContainers]: a containerd leaves its containers running
// when it ends.
func (c *Config) stopContainers(ctx context.Context, _ *Engine) (killed []string) {
	api, err := containerd.New(c.Socket())
	if err != nil {
		return nil
	}
	defer api.Close()
	list, err := api.Namespaces(ctx)
	if err != nil {
		c.Log.WarnContext(ctx, "containers can't be asked to end", "error", err)
		return nil
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, namespace := range list {
		tasks, _ := api.Tasks(ctx, namespace) // what is left is killed
		for _, t := range tasks {
			all.Go(func() {
				forced, err := api.StopTask(ctx, namespace, t.ID)
				if err != nil {
					c.Log.WarnContext(ctx, "container does not end", "namespace", namespace, "container", t.ID, "error", err)
				}
				if forced {
					mu.Lock()
					defer mu.Unlock()
					killed = append(killed, containerd.Key(namespace, t.ID))
				}
				// Then what was made for it, its networks too, is given back.
				_ = api.DeleteTask(ctx, namespace, t.ID)
			})
		}
	}
	all.Wait()
	return killed
}
