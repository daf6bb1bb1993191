package mirror

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// Here the engine's objects become ours. What the engine gives in no order is
// sorted, so that the same object always has the same encoding.

// listedContainer converts what the list call knows: no details of the run.
func listedContainer(c container.Summary, namespace string) state.Container {
	out := state.Container{
		ID:        c.ID,
		Name:      ownName(c.Names),
		Namespace: namespace,
		Image:     c.ImageID,
		ImageRef:  c.Image,
		Labels:    c.Labels,
		State:     containerState(string(c.State)),
		Health:    listedHealth(c),
		CreatedAt: unixTime(c.Created),
		Mounts:    mounts(c.Mounts),
	}
	for _, p := range c.Ports {
		out.Ports = append(out.Ports, state.Port{
			ContainerPort: p.PrivatePort,
			Protocol:      p.Type,
			HostIP:        addr(p.IP),
			HostPort:      p.PublicPort,
		})
	}
	sortPorts(out.Ports)
	if c.NetworkSettings != nil {
		out.Networks = attachments(c.NetworkSettings.Networks)
	}
	return out
}

// inspectedContainer converts what the inspection knows: everything.
func inspectedContainer(c container.InspectResponse, namespace string) state.Container {
	out := state.Container{
		ID:           c.ID,
		Name:         strings.TrimPrefix(c.Name, "/"),
		Namespace:    namespace,
		Image:        c.Image,
		Path:         c.Path,
		Args:         c.Args,
		State:        state.StateUnknown,
		Health:       state.HealthNone,
		RestartCount: c.RestartCount,
		CreatedAt:    parseTime(c.Created),
		Mounts:       mounts(c.Mounts),
	}
	if c.Config != nil {
		out.ImageRef, out.Labels = c.Config.Image, c.Config.Labels
	}
	if s := c.State; s != nil {
		out.State = containerState(string(s.Status))
		out.PID, out.ExitCode, out.Error, out.OOMKilled = s.Pid, s.ExitCode, s.Error, s.OOMKilled
		out.StartedAt, out.FinishedAt = parseTime(s.StartedAt), parseTime(s.FinishedAt)
		if s.Health != nil && s.Health.Status != "" {
			out.Health = string(s.Health.Status)
		}
	}
	if h := c.HostConfig; h != nil {
		out.RestartPolicy.Name = cmp.Or(string(h.RestartPolicy.Name), "no")
		out.RestartPolicy.MaximumRetryCount = h.RestartPolicy.MaximumRetryCount
	}
	if n := c.NetworkSettings; n != nil {
		out.Networks = attachments(n.Networks)
		for port, bindings := range n.Ports {
			p := state.Port{ContainerPort: port.Num(), Protocol: string(port.Proto())}
			if len(bindings) == 0 {
				out.Ports = append(out.Ports, p)
			}
			for _, b := range bindings {
				hostPort, _ := strconv.ParseUint(b.HostPort, 10, 16)
				p.HostIP, p.HostPort = addr(b.HostIP), uint16(hostPort)
				out.Ports = append(out.Ports, p)
			}
		}
		sortPorts(out.Ports)
	}
	return out
}

// ownName returns a container's own name among those it has. Legacy links give it
// others, below the name of the container that links to it.
func ownName(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// containerState maps podman's states, which its Docker API does not always
// translate, to docker's.
func containerState(s string) string {
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

// listedHealth is empty where the list call says nothing about it: engines before
// API 1.52 only do in the text for people.
func listedHealth(c container.Summary) string {
	if c.Health != nil {
		return string(c.Health.Status)
	}
	switch {
	case strings.HasSuffix(c.Status, "(healthy)"):
		return state.HealthHealthy
	case strings.HasSuffix(c.Status, "(unhealthy)"):
		return state.HealthUnhealthy
	case strings.HasSuffix(c.Status, "(health: starting)"):
		return state.HealthStarting
	}
	return ""
}

func mounts(in []container.MountPoint) []state.Mount {
	var out []state.Mount
	for _, m := range in {
		out = append(out, state.Mount{
			Type:        string(m.Type),
			Name:        m.Name,
			Source:      m.Source,
			Destination: m.Destination,
			ReadOnly:    !m.RW,
		})
	}
	slices.SortStableFunc(out, func(a, b state.Mount) int { return cmp.Compare(a.Destination, b.Destination) })
	return out
}

func attachments(in map[string]*network.EndpointSettings) []state.Attachment {
	var out []state.Attachment
	for name, e := range in {
		a := state.Attachment{Name: name}
		if e != nil {
			a.ID, a.IPAddress, a.IPv6Address = e.NetworkID, addr(e.IPAddress), addr(e.GlobalIPv6Address)
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b state.Attachment) int { return cmp.Compare(a.Name, b.Name) })
	return out
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

// imageDetails is what an image's inspection knows beyond the list. It never
// changes while the list says the same of the image.
type imageDetails struct {
	arch, os  string
	createdAt time.Time
}

func listedImage(i image.Summary, namespace string) state.Image {
	return state.Image{
		ID:          i.ID,
		Namespace:   namespace,
		Parent:      i.ParentID,
		RepoTags:    references(i.RepoTags),
		RepoDigests: references(i.RepoDigests),
		CreatedAt:   unixTime(i.Created),
		Size:        i.Size,
		Labels:      i.Labels,
	}
}

func inspectedImage(i image.InspectResponse) *imageDetails {
	return &imageDetails{arch: i.Architecture, os: i.Os, createdAt: parseTime(i.Created)}
}

// apply adds the details to what the list knows.
func (d *imageDetails) apply(i *state.Image) {
	i.Architecture, i.OS = d.arch, d.os
	if !d.createdAt.IsZero() {
		i.CreatedAt = d.createdAt
	}
}

// references leaves out "<none>:<none>" and "<none>@<none>", with which engines
// before API 1.43 say that there are none.
func references(in []string) []string {
	var out []string
	for _, r := range in {
		if !strings.HasPrefix(r, "<none>") {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}

func convertVolume(v volume.Volume, namespace string) state.Volume {
	return state.Volume{
		Name:       v.Name,
		Namespace:  namespace,
		Driver:     v.Driver,
		Mountpoint: v.Mountpoint,
		Scope:      v.Scope,
		CreatedAt:  parseTime(v.CreatedAt),
		Labels:     v.Labels,
		Options:    v.Options,
	}
}

func convertNetwork(n network.Network, namespace string) state.Network {
	out := state.Network{
		ID:        n.ID,
		Name:      n.Name,
		Namespace: namespace,
		Driver:    n.Driver,
		Scope:     n.Scope,
		Internal:  n.Internal,
		IPv6:      n.EnableIPv6,
		Labels:    n.Labels,
		CreatedAt: utc(n.Created),
	}
	for _, c := range n.IPAM.Config {
		if c.Subnet.IsValid() {
			out.Subnets = append(out.Subnets, c.Subnet.String())
		}
	}
	return out
}

// addr is the address as text, empty for none.
func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func unixTime(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// parseTime returns the zero time for the engine's: the year 1, an empty string, and
// anything else that is no time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.UTC()
}
