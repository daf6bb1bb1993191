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

// containerdProgram is containerd, set up for nerdctl and plugins for networks.
type containerdProgram struct{ *Config }

func (containerdProgram) comm() string { return "containerd" }

func (containerdProgram) tools() []tool { return nil }

// reservedContainerd are arguments that belong to docker rd.
var reservedContainerd = []string{"config", "c", "address", "a", "root", "state", "help", "h", "version", "v"}

func (p containerdProgram) options() (*daemonOptions, error) {
	for _, arg := range p.Args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		for _, reserved := range reservedContainerd {
			if strings.HasPrefix(arg, "-") && name == reserved {
				return nil, failure.WithHint(failure.Refuse("engine argument %s is set by docker rd", arg), "leave it out")
			}
		}
		if arg == "" || !strings.HasPrefix(arg, "-") && len(p.Args) == 1 {
			return nil, failure.WithHint(failure.Refuse("engine argument %q is not an option of containerd", arg), "leave it out")
		}
	}
	return &daemonOptions{args: p.Args}, nil
}

func (containerdProgram) maxSocket() int { return MaxSocket - len(ttrpcSuffix) }

func (p containerdProgram) root() string  { return filepath.Join(p.DataRoot, "containerd") }
func (p containerdProgram) state() string { return filepath.Join(p.ExecRoot, "containerd") }

func (p containerdProgram) squats(other processes.Proc) bool {
	return other.Comm == p.comm() &&
		(processes.Argument(other.ID.PID, "--root") == p.root() || processes.Argument(other.ID.PID, "--state") == p.state())
}

// cniState is what plugins for networks remember: which addresses are taken.
func (p containerdProgram) cniState() string { return filepath.Join(p.DataRoot, "cni", "state") }

func (p containerdProgram) dirs() []string {
	return []string{p.root(), p.state(), p.cniState()}
}

func (containerdProgram) hostDirs() []string { return containerdHostDirs }

func (containerdProgram) copyUp() []string { return []string{"/etc", "/var/lib"} }

func (p containerdProgram) binds() []namespaces.Bind {
	return []namespaces.Bind{{Source: p.cniState(), Target: "/var/lib/cni", Optional: true}}
}

func (containerdProgram) hide() []string { return []string{"nerdctl/", "buildkit/"} }

// prepare writes a configuration of version 2, which later versions of containerd take too.
func (p containerdProgram) prepare(*launch) ([]string, error) {
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
`, strconv.Quote(p.Socket), strconv.Quote(p.Socket+ttrpcSuffix))
	if err := os.WriteFile(p.private(containerdTOML), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := p.linkPlugins(); err != nil {
		return nil, err
	}
	// A containerd that had no room to write its id would never have one.
	id := filepath.Join(p.root(), "io.containerd.grpc.v1.introspection", "uuid")
	if info, err := os.Stat(id); err == nil && info.Size() == 0 {
		if err := os.Remove(id); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(p.Nerdctl, []byte(p.nerdctl()), 0o600); err != nil {
		return nil, err
	}
	return append([]string{"--config", p.private(containerdTOML), "--root", p.root(), "--state", p.state()}, p.Args...), nil
}

// plugins is the directory with the plugins for networks.
func (p containerdProgram) plugins() string { return p.private(portproxy.PluginDir) }

// plugin is the one that publishes ports, which is ours.
func (p containerdProgram) plugin() string { return filepath.Join(p.plugins(), portproxy.PluginName) }

// linkPlugins makes the directory with the plugins for networks: ours, and the host's.
func (p containerdProgram) linkPlugins() error {
	if err := errors.Join(os.RemoveAll(p.plugins()), os.Mkdir(p.plugins(), 0o700), os.Symlink(p.private(proxyPlace), p.plugin())); err != nil {
		return err
	}
	for _, dir := range pluginDirs {
		found, _ := os.ReadDir(dir)
		for _, f := range found {
			name := f.Name()
			if name == portproxy.PluginName {
				name += portproxy.RulesSuffix
			}
			err := os.Symlink(filepath.Join(dir, f.Name()), filepath.Join(p.plugins(), name))
			if err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// nerdctl returns a configuration by which nerdctl uses the engine, from within its namespaces.
func (p containerdProgram) nerdctl() string {
	var b strings.Builder
	for _, setting := range [][2]string{
		{"address", p.Socket}, {"data_root", filepath.Join(p.DataRoot, "nerdctl")}, {"cni_path", p.plugins()},
		{"cni_netconfpath", filepath.Join(p.DataRoot, "cni", "net.d")}, {"cgroup_manager", "cgroupfs"},
	} {
		fmt.Fprintf(&b, "%s = %s\n", setting[0], strconv.Quote(setting[1]))
	}
	return b.String()
}

// stopContainers implements [program]: a containerd leaves its containers running when it ends.
func (p containerdProgram) stopContainers(ctx context.Context, _ *Engine) (killed []string) {
	api, err := containerd.New(p.Socket)
	if err != nil {
		return nil
	}
	defer api.Close()
	list, err := api.Namespaces(ctx)
	if err != nil {
		p.log().WarnContext(ctx, "containers can't be asked to end", "error", err)
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
					p.log().WarnContext(ctx, "container does not end", "namespace", namespace, "container", t.ID, "error", err)
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

// rejoins implements [program]: an ordinary user's containers end with the engine's first process.
func (p containerdProgram) rejoins(*daemonOptions) bool { return !p.Rootless }

func (containerdProgram) containers(f *processes.Found) []string {
	return f.Containers(func(shim int) string {
		return containerd.Key(processes.Argument(shim, "-namespace"), processes.Argument(shim, "-id"))
	})
}
