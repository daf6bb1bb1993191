package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/network"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// The engine's answers, and how they become our objects. Only the fields that the mirror holds
// are decoded; the tests compare the result with docker's own types. Lists without an order are
// sorted, so that equal objects have equal encodings.

// listedContainer is an entry of the list, without details of the run.
type listedContainer struct {
	ID              string `json:"Id"`
	Names           []string
	Image           string
	ImageID         string
	Created         int64
	Ports           []listedPort
	Labels          map[string]string
	State           string
	Status          string
	Health          struct{ Status string }
	NetworkSettings struct{ Networks map[string]attachment }
	Mounts          []mount
}

type listedPort struct {
	IP          string
	PrivatePort uint16
	PublicPort  uint16
	Type        string
}

func (a listedContainer) object() (state.Container, error) {
	c := state.Container{
		ID: a.ID, Name: ownName(a.Names), Namespace: namespace, Image: a.ImageID, ImageRef: a.Image,
		Labels: a.Labels, Compose: compose(a.Labels),
		State: ContainerState(a.State), Health: cmp.Or(a.Health.Status, healthOf(a.Status)), CreatedAt: unixTime(a.Created),
		Mounts: mounts(a.Mounts), Networks: attachments(a.NetworkSettings.Networks),
	}
	for _, p := range a.Ports {
		c.Ports = append(c.Ports, state.Port{ContainerPort: p.PrivatePort, Protocol: p.Type, HostIP: p.IP, HostPort: p.PublicPort})
	}
	sortPorts(c.Ports)
	return c, nil
}

// inspectedContainer is the complete answer of an inspection.
type inspectedContainer struct {
	ID           string `json:"Id"`
	Name         string
	Image        string
	Path         string
	Args         []string
	RestartCount int
	Created      string
	Config       struct {
		Image        string
		Entrypoint   []string
		Cmd          []string
		User         string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
	}
	State struct {
		Status     string
		Pid        int
		ExitCode   int
		Error      string
		OOMKilled  bool
		StartedAt  string
		FinishedAt string
		Health     health
	}
	HostConfig struct {
		RestartPolicy struct {
			Name              string
			MaximumRetryCount int
		}
		AutoRemove   bool
		PortBindings map[string][]binding
		limits
	}
	NetworkSettings struct {
		Ports    map[string][]binding
		Networks map[string]attachment
	}
	Mounts []mount
}

type binding struct {
	IP   string `json:"HostIp"`
	Port string `json:"HostPort"`
}

func (a inspectedContainer) object() (state.Container, error) {
	published, err := ports(a.NetworkSettings.Ports, true)
	bindings, bindingsErr := ports(a.HostConfig.PortBindings, false)
	c := state.Container{
		ID: a.ID, Name: strings.TrimPrefix(a.Name, "/"), Namespace: namespace, Image: a.Image, ImageRef: a.Config.Image,
		Path: a.Path, Args: a.Args, Entrypoint: a.Config.Entrypoint, Cmd: a.Config.Cmd, User: a.Config.User,
		Labels: a.Config.Labels, Compose: compose(a.Config.Labels),
		State: ContainerState(a.State.Status), Health: cmp.Or(a.State.Health.Status, state.HealthNone), HealthCheck: a.State.Health.check(),
		PID: a.State.Pid, ExitCode: a.State.ExitCode, Error: a.State.Error, OOMKilled: a.State.OOMKilled,
		RestartCount: a.RestartCount,
		RestartPolicy: state.RestartPolicy{
			Name: cmp.Or(a.HostConfig.RestartPolicy.Name, "no"), MaximumRetryCount: a.HostConfig.RestartPolicy.MaximumRetryCount,
		},
		AutoRemove: a.HostConfig.AutoRemove, Limits: a.HostConfig.object(),
		CreatedAt: ParseTime(a.Created), StartedAt: ParseTime(a.State.StartedAt), FinishedAt: ParseTime(a.State.FinishedAt),
		Ports: published, PortBindings: bindings, ExposedPorts: exposedPorts(a.Config.ExposedPorts), Mounts: mounts(a.Mounts), Networks: attachments(a.NetworkSettings.Networks),
	}
	return c, errors.Join(err, bindingsErr)
}

// health is how the health checks of a container go.
type health struct {
	Status        string
	FailingStreak int
	Log           []struct { // the oldest first
		ExitCode int
		Output   string
	}
}

func (h health) check() *state.HealthCheck {
	if h.Status == "" || h.Status == state.HealthNone {
		return nil
	}
	c := &state.HealthCheck{FailingStreak: h.FailingStreak}
	if n := len(h.Log); n > 0 && h.Log[n-1].ExitCode != 0 {
		c.LastOutput = h.Log[n-1].Output
	}
	return c
}

type limits struct {
	Memory            int64
	MemoryReservation int64
	MemorySwap        int64
	NanoCPUs          int64 `json:"NanoCpus"`
	CPUShares         int64 `json:"CpuShares"`
	CPUPeriod         int64 `json:"CpuPeriod"`
	CPUQuota          int64 `json:"CpuQuota"`
	CpusetCpus        string
	PidsLimit         int64
}

func (l limits) object() *state.Limits {
	l.PidsLimit = max(l.PidsLimit, 0) // -1 is none too
	if l == (limits{}) {
		return nil
	}
	o := state.Limits(l)
	return &o
}

// compose reads the labels that Docker Compose leaves on what it makes.
func compose(labels map[string]string) *state.Compose {
	project := labels["com.docker.compose.project"]
	if project == "" {
		return nil
	}
	return &state.Compose{Project: project, Service: labels["com.docker.compose.service"]}
}

// exposedPorts returns ports as a list, written as the engine writes them.
func exposedPorts(all map[string]struct{}) (out []string) {
	for name := range all {
		if port, err := network.ParsePort(name); err == nil {
			name = port.String()
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ports returns the bindings by port as a list, with the ports that have none where exposed is set.
func ports(all map[string][]binding, exposed bool) (out []state.Port, err error) {
	for name, bindings := range all {
		port, err := network.ParsePort(name)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", name, err)
		}
		p := state.Port{ContainerPort: port.Num(), Protocol: string(port.Proto())}
		if exposed && len(bindings) == 0 {
			out = append(out, p)
		}
		for _, b := range bindings {
			n, _ := strconv.ParseUint(b.Port, 10, 16)
			p.HostIP, p.HostPort = b.IP, uint16(n)
			out = append(out, p)
		}
	}
	sortPorts(out)
	return out, nil
}

func sortPorts(ports []state.Port) {
	slices.SortFunc(ports, func(a, b state.Port) int {
		return cmp.Or(
			cmp.Compare(a.ContainerPort, b.ContainerPort),
			cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.HostIP, b.HostIP),
			cmp.Compare(a.HostPort, b.HostPort),
		)
	})
}

type mount struct {
	Type        string
	Name        string
	Source      string
	Destination string
	RW          bool
}

func mounts(all []mount) (out []state.Mount) {
	for _, m := range all {
		out = append(out, state.Mount{Type: m.Type, Name: m.Name, Source: m.Source, Destination: m.Destination, ReadOnly: !m.RW})
	}
	slices.SortStableFunc(out, func(a, b state.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

// attachment is an endpoint of a container in a network.
type attachment struct {
	NetworkID         string
	IPAddress         string
	GlobalIPv6Address string
	Gateway           string
	IPv6Gateway       string
	MacAddress        string
	Aliases           []string
}

func attachments(all map[string]attachment) (out []state.Attachment) {
	for name, a := range all {
		out = append(out, state.Attachment{
			Name: name, ID: a.NetworkID, IPAddress: a.IPAddress, IPv6Address: a.GlobalIPv6Address,
			Gateway: a.Gateway, IPv6Gateway: a.IPv6Gateway, MacAddress: a.MacAddress, Aliases: a.Aliases,
		})
	}
	slices.SortFunc(out, func(a, b state.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

type listedImage struct {
	ID          string `json:"Id"`
	ParentID    string `json:"ParentId"`
	RepoTags    []string
	RepoDigests []string
	Created     int64
	Size        int64
	Labels      map[string]string
}

func (a listedImage) object() (state.Image, error) {
	return state.Image{
		ID: a.ID, Namespace: namespace, Parent: a.ParentID, RepoTags: references(a.RepoTags), RepoDigests: references(a.RepoDigests),
		CreatedAt: unixTime(a.Created), Size: a.Size, Labels: a.Labels,
	}, nil
}

// inspectedImage is what an inspection adds to the list. It never changes while the list says
// the same of the image.
type inspectedImage struct {
	Architecture string
	Variant      string
	Os           string
	Created      string
	RootFS       struct{ Layers []string }
	Config       struct {
		ExposedPorts map[string]struct{}
		Volumes      map[string]struct{}
	}

	// In moby's list, but not in containerd's.
	size   int64
	labels map[string]string

	partial bool // there may be more at the next list
}

func (a inspectedImage) complete(i *state.Image) {
	i.Architecture, i.Variant, i.OS = a.Architecture, a.Variant, a.Os
	i.LayerCount = len(a.RootFS.Layers)
	i.ExposedPorts = exposedPorts(a.Config.ExposedPorts)
	i.Volumes = slices.Sorted(maps.Keys(a.Config.Volumes))
	if created := ParseTime(a.Created); !created.IsZero() {
		i.CreatedAt = created
	}
	if a.size != 0 {
		i.Size, i.Labels = a.size, a.labels
	}
}

type volume struct {
	Name       string
	Driver     string
	Mountpoint string
	Scope      string
	CreatedAt  string
	Labels     map[string]string
	Options    map[string]string
}

func (a volume) object() (state.Volume, error) {
	return state.Volume{
		Name: a.Name, Namespace: namespace, Driver: a.Driver, Mountpoint: a.Mountpoint, Scope: a.Scope,
		CreatedAt: ParseTime(a.CreatedAt), Labels: a.Labels, Options: a.Options, Compose: compose(a.Labels),
	}, nil
}

type listedNetwork struct {
	ID         string `json:"Id"`
	Name       string
	Driver     string
	Scope      string
	Internal   bool
	EnableIPv6 bool
	Attachable bool
	Options    map[string]string
	Labels     map[string]string
	Created    string
	IPAM       struct {
		Config []struct{ Subnet, Gateway string }
	}
}

// podmanDefault is the id of podman's default network everywhere: the SHA-256 of its name.
const podmanDefault = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9"

func (a listedNetwork) object() (state.Network, error) {
	if a.ID == podmanDefault {
		a.Created = "" // podman may say another time in each answer
	}
	n := state.Network{
		ID: a.ID, Name: a.Name, Namespace: namespace, Driver: a.Driver, Scope: a.Scope, Internal: a.Internal, IPv6: a.EnableIPv6,
		Attachable: a.Attachable, Options: a.Options, Labels: a.Labels, Compose: compose(a.Labels), CreatedAt: ParseTime(a.Created),
	}
	for _, c := range a.IPAM.Config {
		if c.Subnet != "" {
			if c.Gateway == "<nil>" { // of an engine whose networks are just being restored
				c.Gateway = ""
			}
			n.Subnets = append(n.Subnets, c.Subnet)
			n.Gateways = append(n.Gateways, c.Gateway)
		}
	}
	return n, nil
}

// ownName returns a container's own name. Legacy links give it others, below the name of the
// container that links to it.
func ownName(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// ContainerState maps podman's states, which its Docker API does not always translate.
func ContainerState(s string) string {
	switch s {
	case state.StateCreated, state.StateRunning, state.StatePaused, state.StateRestarting,
		state.StateRemoving, state.StateExited, state.StateDead:
		return s
	case "configured", "initialized":
		return state.StateCreated
	case "stopping":
		return state.StateRunning
	case "stopped":
		return state.StateExited
	}
	return state.StateUnknown
}

// healthOf parses the health from the status text: lists before API 1.52 have it nowhere else.
// It is "" if the text has none.
func healthOf(status string) string {
	switch {
	case strings.HasSuffix(status, "(healthy)"):
		return state.HealthHealthy
	case strings.HasSuffix(status, "(unhealthy)"):
		return state.HealthUnhealthy
	case strings.HasSuffix(status, "(health: starting)"):
		return state.HealthStarting
	}
	return ""
}

// references leaves out "<none>:<none>" and "<none>@<none>", which stand for no references
// before API 1.43.
func references(in []string) []string {
	out := slices.DeleteFunc(in, func(r string) bool { return strings.HasPrefix(r, "<none>") })
	slices.Sort(out)
	return out
}

func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return sensible(time.Unix(seconds, 0))
}

// ParseTime reads a time of Docker's API, as the state file has it: in UTC, and the zero time for
// anything that is no time.
func ParseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return sensible(t)
}

// sensible returns the zero time for the year 1, and for years that RFC 3339 can't express.
func sensible(t time.Time) time.Time {
	if t = t.UTC(); t.Year() <= 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
