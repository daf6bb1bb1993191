package fakeengine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
)

// A shelf holds the objects of one kind with the encodings for its two calls.
type shelf[T any] struct {
	objects map[string]*stored[T]
	order   []string
	list    []byte // the list call's answer, nil if it must be made again
	views   func(*T) (list, inspect any)
}

type stored[T any] struct {
	value         *T
	list, inspect json.RawMessage
}

func (s *shelf[T]) put(id string, value *T) {
	if s.objects[id] == nil {
		s.order = append(s.order, id)
	}
	list, inspect := s.views(value)
	s.objects[id] = &stored[T]{value, mustEncode(list), mustEncode(inspect)}
	s.list = nil
}

func (s *shelf[T]) remove(id string) {
	delete(s.objects, id)
	s.order = slices.DeleteFunc(s.order, func(o string) bool { return o == id })
	s.list = nil
}

func (s *shelf[T]) get(id string) *T {
	if o := s.objects[id]; o != nil {
		return o.value
	}
	return nil
}

func (s *shelf[T]) listing() []byte {
	if s.list == nil {
		var b bytes.Buffer
		b.WriteByte('[')
		for i, id := range s.order {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(s.objects[id].list)
		}
		b.WriteByte(']')
		s.list = b.Bytes()
	}
	return s.list
}

type world struct {
	containers shelf[container.InspectResponse]
	images     shelf[image.InspectResponse]
	volumes    shelf[volume.Volume]
	networks   shelf[network.Inspect]
	parents    map[string]string // of images
	serial     int
}

func (w *world) init() {
	w.containers = shelf[container.InspectResponse]{objects: map[string]*stored[container.InspectResponse]{}, views: containerViews}
	w.images = shelf[image.InspectResponse]{objects: map[string]*stored[image.InspectResponse]{}, views: w.imageViews}
	w.parents = map[string]string{}
	w.volumes = shelf[volume.Volume]{objects: map[string]*stored[volume.Volume]{}, views: func(v *volume.Volume) (any, any) { return v, v }}
	w.networks = shelf[network.Inspect]{objects: map[string]*stored[network.Inspect]{}, views: func(n *network.Inspect) (any, any) { return n.Network, n }}
}

func (w *world) newID(what string) string {
	w.serial++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, w.serial))
	return hex.EncodeToString(sum[:])
}

// containerViews derives the list call's view of a container.
func containerViews(c *container.InspectResponse) (list, inspect any) {
	s := container.Summary{
		ID: c.ID, Names: []string{c.Name}, Image: c.Config.Image, ImageID: c.Image,
		Command: strings.Join(append([]string{c.Path}, c.Args...), " "),
		Created: engineTime(c.Created).Unix(), Labels: c.Config.Labels, State: c.State.Status,
		Status:          statusText(c.State),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: c.NetworkSettings.Networks},
		Mounts:          slices.Clone(c.Mounts),
	}
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Type == mount.TypeVolume && len(m.Name) == len(c.ID) {
			m.Source = "" // of an anonymous volume it is not known when moby takes the list's view
		}
	}
	s.HostConfig.NetworkMode = string(c.HostConfig.NetworkMode)
	for port, bindings := range c.NetworkSettings.Ports {
		p := container.PortSummary{PrivatePort: port.Num(), Type: string(port.Proto())}
		if len(bindings) == 0 {
			s.Ports = append(s.Ports, p)
		}
		for _, b := range bindings {
			var public uint16
			fmt.Sscan(b.HostPort, &public)
			p.IP, p.PublicPort = b.HostIP, public
			s.Ports = append(s.Ports, p)
		}
	}
	return s, c
}

// statusText is moby's text for a state, as of when the object last changed.
func statusText(s *container.State) string {
	since := func(at string) string { return units.HumanDuration(time.Since(engineTime(at))) }
	switch s.Status {
	case container.StateCreated:
		return "Created"
	case container.StatePaused:
		return "Up " + since(s.StartedAt) + " (Paused)"
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, since(s.FinishedAt))
	case container.StateRemoving:
		return "Removal In Progress"
	case container.StateDead:
		return "Dead"
	case container.StateExited:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, since(s.FinishedAt))
	}
	text := "Up " + since(s.StartedAt)
	switch {
	case s.Health == nil:
		return text
	case s.Health.Status == container.Starting:
		return text + " (health: starting)"
	}
	return text + " (" + string(s.Health.Status) + ")"
}

func (w *world) imageViews(i *image.InspectResponse) (list, inspect any) {
	s := image.Summary{
		Containers: -1, Created: engineTime(i.Created).Unix(), ID: i.ID, RepoDigests: i.RepoDigests,
		RepoTags: i.RepoTags, SharedSize: -1, Size: i.Size, ParentID: w.parents[i.ID],
	}
	if i.Config != nil {
		s.Labels = i.Config.Labels
	}
	return s, i
}

func engineTime(s string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, s)
	return t
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

const zeroTime = "0001-01-01T00:00:00Z"

func (w *world) newContainer(name, img string, now time.Time) *container.InspectResponse {
	id := w.newID("container " + name)
	imageID := img
	for _, i := range w.images.objects {
		if slices.Contains(i.value.RepoTags, img) || i.value.ID == img {
			imageID = i.value.ID
		}
	}
	return &container.InspectResponse{
		ID: id, Name: "/" + name, Created: stamp(now), Path: "sleep", Args: []string{"infinity"}, Image: imageID,
		State:  &container.State{Status: container.StateCreated, StartedAt: zeroTime, FinishedAt: zeroTime},
		Driver: "overlay2", Platform: "linux", ExecIDs: nil,
		HostConfig: &container.HostConfig{NetworkMode: "bridge", RestartPolicy: container.RestartPolicy{Name: "no"}},
		Mounts:     []container.MountPoint{},
		Config: &container.Config{
			Image: img, Labels: map[string]string{}, Hostname: id[:12],
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"sleep", "infinity"},
		},
		NetworkSettings: &container.NetworkSettings{
			Ports:    network.PortMap{},
			Networks: map[string]*network.EndpointSettings{"bridge": {NetworkID: ""}},
		},
	}
}

func (w *world) newImage(tags []string, now time.Time) *image.InspectResponse {
	return &image.InspectResponse{
		ID: "sha256:" + w.newID("image "+stamp(now)), RepoTags: append([]string{}, tags...), RepoDigests: []string{},
		Created: stamp(now), Architecture: "amd64", Os: "linux", Size: 1 << 20,
	}
}

func (w *world) newVolume(name string, now time.Time) *volume.Volume {
	return &volume.Volume{
		Name: name, Driver: "local", Mountpoint: "/var/lib/docker/volumes/" + name + "/_data", Scope: "local",
		CreatedAt: now.UTC().Format(time.RFC3339), Labels: map[string]string{}, Options: map[string]string{},
	}
}

func (w *world) newNetwork(name string, now time.Time) *network.Inspect {
	n := len(w.networks.order)
	subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)
	return &network.Inspect{Network: network.Network{
		Name: name, ID: w.newID("network " + name), Created: now.UTC(), Scope: "local", Driver: "bridge", EnableIPv4: true,
		IPAM:    network.IPAM{Driver: "default", Config: []network.IPAMConfig{{Subnet: subnet}}},
		Options: map[string]string{}, Labels: map[string]string{},
	}}
}

// run makes a container running, with an address and whatever it publishes.
func run(c *container.InspectResponse, pid int, now time.Time) {
	c.State = &container.State{Status: container.StateRunning, Running: true, Pid: pid, StartedAt: stamp(now), FinishedAt: c.State.FinishedAt}
	for _, e := range c.NetworkSettings.Networks {
		e.IPAddress = netip.AddrFrom4([4]byte{172, 17, byte(pid >> 8), byte(pid)})
	}
}

// exit makes a container exited.
func exit(c *container.InspectResponse, code int, now time.Time) {
	c.State = &container.State{Status: container.StateExited, ExitCode: code, StartedAt: c.State.StartedAt, FinishedAt: stamp(now)}
	for _, e := range c.NetworkSettings.Networks {
		e.IPAddress = netip.Addr{}
	}
}

// usesVolume reports whether a container mounts the volume.
func usesVolume(c *container.InspectResponse, name string) bool {
	return slices.ContainsFunc(c.Mounts, func(m container.MountPoint) bool { return m.Type == mount.TypeVolume && m.Name == name })
}
