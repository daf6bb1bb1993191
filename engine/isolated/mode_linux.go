package isolated

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/rootlessrunc"
)

// A mode is how an engine is isolated. There are two: root's engine is found by its control
// groups and its marker, and dockerd is its first process; an ordinary user's runs in a user
// and a pid namespace, and ends with the first process there.
type mode interface {
	// check returns what prevents a start; tools are the programs that it needs besides.
	check() []error
	tools() []tool
	// hierarchies returns the control groups by which the engine's processes are found.
	hierarchies() (processes.Hierarchies, error)
	// limit limits the running engine as the settings say.
	limit() error
	// complete adds the mode's part to a launch, and makes further files for it.
	complete(l *namespaces.Launch) error
	// args are dockerd's, env is of both daemons.
	args(user *daemonOptions) []string
	env() []string
}

func (c *Config) mode() mode {
	if c.rootless() {
		return userMode{c}
	}
	return rootMode{c}
}

// rootMode is root's.
type rootMode struct{ *Config }

func (rootMode) tools() []tool { return nil }

func (rootMode) hierarchies() (processes.Hierarchies, error) { return processes.FindHierarchies() }

func (m rootMode) limit() error {
	h, err := processes.FindHierarchies()
	if err != nil {
		return err
	}
	return m.processes().SetLimits(h, m.limits(), m.isContainerd())
}

func (m rootMode) complete(l *namespaces.Launch) error {
	l.OwnRoots = m.isContainerd() // which can't be told to put containers below a group
	return nil
}

func (m rootMode) args(user *daemonOptions) []string {
	return []string{"--cgroup-parent", m.processes().Parent(user.systemdCgroups())}
}

func (m rootMode) env() []string {
	return []string{"PATH=" + m.searchPath()}
}

// userMode is an ordinary user's.
type userMode struct{ *Config }

func (userMode) tools() []tool { return []tool{{"newuidmap", "uidmap"}, {"newgidmap", "uidmap"}} }

// None are needed: everything ends with the engine's first process.
func (userMode) hierarchies() (processes.Hierarchies, error) { return processes.Hierarchies{}, nil }

// makeFiles makes what stands for RootlessKit's files and the user's configuration.
func (m userMode) makeFiles() error {
	for _, dir := range []string{m.private(xdgConfig), m.rootlessKit()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	stands := "rootlesskit-docker-proxy"
	if m.isContainerd() {
		stands = rootlessrunc.Name
	}
	return errors.Join(link(m.private(etcDocker), filepath.Join(m.private(xdgConfig), "docker")),
		link(m.private(proxyPlace), filepath.Join(m.rootlessKit(), stands)))
}

func (m userMode) complete(l *namespaces.Launch) (err error) {
	if err := m.makeFiles(); err != nil {
		return err
	}
	// There must be an /etc/docker, and an /etc/resolv.conf that is no link.
	l.User = &namespaces.UserPlan{Staging: m.private(staging), CopyUp: m.program().copyUp}
	if l.IDs, err = namespaces.OwnMap(); err != nil {
		return err
	}
	// Of this network namespace, in which nobody else is.
	l.Sysctls = append(l.Sysctls,
		namespaces.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"},
		namespaces.Sysctl{Name: "net/ipv4/ip_unprivileged_port_start", Value: "0"},
		namespaces.Sysctl{Name: "net/ipv4/ping_group_range", Value: fmt.Sprintf("0 %d", namespaces.Count(l.IDs.GIDs))})
	return nil
}

func (m userMode) args(user *daemonOptions) []string {
	args := []string{"--rootless"}
	if m.scopes != nil {
		// With it dockerd would have no control groups, or only systemd's, which does not know
		// the processes of the engine's pid namespace.
		args = []string{"--rootless=false", "--cgroup-parent", "/" + processes.ContainerGroup}
	}
	if !user.has("storage-driver") && m.needsFuse() {
		args = append(args, "--storage-driver", fuseOverlay)
	}
	return args
}

func (m userMode) env() []string {
	env := []string{"XDG_RUNTIME_DIR=" + m.tempDir()}
	if u, err := user.Current(); err == nil && os.Getenv("HOME") == "" { // dockerd wants one, and uses nothing in it
		env = append(env, "HOME="+u.HomeDir)
	}
	if m.scopes != nil { // dockerd refuses to be under RootlessKit and not rootless
		return append(env, "PATH="+m.searchPath())
	}
	return append(env,
		// dockerd 28 and later asks RootlessKit's API which port driver there is, and the
		// broker answers. Before, dockerd looks for RootlessKit's proxy, and takes ours.
		"ROOTLESSKIT_STATE_DIR="+m.rootlessKit(),
		"PATH="+m.rootlessKit()+":"+m.searchPath(),
		// With it dockerd has its identity and its registries' certificates here.
		"XDG_CONFIG_HOME="+m.private(xdgConfig))
}

// rootlessKit is the directory that dockerd takes for the state of RootlessKit.
func (c *Config) rootlessKit() string { return filepath.Join(c.Paths.Exec(), "rootlesskit") }

// brokerSocket is where the engine's proxies ask for listeners.
func (c *Config) brokerSocket() string { return filepath.Join(c.Paths.Exec(), "broker.sock") }
