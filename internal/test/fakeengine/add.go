package fakeengine

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Objects describes objects to add to an engine, for tests that are not written in Go.
type Objects struct {
	Images     []ImageSpec     `json:"images"`
	Volumes    []VolumeSpec    `json:"volumes"`
	Networks   []NetworkSpec   `json:"networks"`
	Containers []ContainerSpec `json:"containers"`
	// EventDelay is how late events come, in milliseconds.
	EventDelay int `json:"eventDelay"`
	// StopTakes is how long a container takes to stop, in milliseconds.
	StopTakes int `json:"stopTakes"`
}

// ImageSpec describes an image. Parent is a tag of another.
type ImageSpec struct {
	Tags    []string          `json:"tags"`
	Digests []string          `json:"digests"`
	Parent  string            `json:"parent"`
	Size    int64             `json:"size"`
	Labels  map[string]string `json:"labels"`
	Age     int               `json:"age"` // in seconds
}

// VolumeSpec describes a volume.
type VolumeSpec struct {
	Name   string            `json:"name"`
	Driver string            `json:"driver"`
	Labels map[string]string `json:"labels"`
}

// NetworkSpec describes a network.
type NetworkSpec struct {
	Name   string            `json:"name"`
	Driver string            `json:"driver"`
	Labels map[string]string `json:"labels"`
}

// ContainerSpec describes a container. Its image need not exist (any more). Ports are as in "80/tcp" and
// "127.0.0.1:8080:80/tcp".
type ContainerSpec struct {
	Name     string            `json:"name"`
	Image    string            `json:"image"`
	Command  []string          `json:"command"`
	State    string            `json:"state"`
	ExitCode int               `json:"exitCode"`
	Error    string            `json:"error"`
	Health   string            `json:"health"`
	Labels   map[string]string `json:"labels"`
	Ports    []string          `json:"ports"`
	Volumes  []string          `json:"volumes"`
	Networks []string          `json:"networks"`
	Age      int               `json:"age"` // in seconds, also since it started or exited

	StopTimeout *int `json:"stopTimeout"`
}

// Add adds objects, with their events.
func (e *Engine) Add(o Objects) {
	e.SetFaults(func(f *Faults) {
		f.EventDelay = time.Duration(o.EventDelay) * time.Millisecond
		f.StopTakes = time.Duration(o.StopTakes) * time.Millisecond
	})
	for _, i := range o.Images {
		e.addImage(i)
	}
	for _, v := range o.Volumes {
		e.mu.Lock()
		made := e.world.newVolume(v.Name, e.now())
		if v.Driver != "" {
			made.Driver = v.Driver
		}
		made.Labels = v.Labels
		e.createVolume(made)
		e.mu.Unlock()
	}
	for _, n := range o.Networks {
		id := e.CreateNetwork(n.Name)
		e.mu.Lock()
		made := e.world.networks.get(id)
		if n.Driver != "" {
			made.Driver = n.Driver
		}
		made.Labels = n.Labels
		e.world.networks.put(id, made)
		e.mu.Unlock()
	}
	for _, c := range o.Containers {
		e.addContainer(c)
	}
}

func (e *Engine) addImage(spec ImageSpec) {
	id := e.CreateImage(spec.Tags...)
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.world.images.get(id)
	i.Created = stamp(e.now().Add(-time.Duration(spec.Age) * time.Second))
	i.RepoDigests = append(i.RepoDigests, spec.Digests...)
	if spec.Size > 0 {
		i.Size = spec.Size
	}
	if spec.Labels != nil {
		config := mustEncode(map[string]any{"Config": map[string]any{"Labels": spec.Labels}})
		if err := json.Unmarshal(config, i); err != nil {
			panic(err)
		}
	}
	if parent, _ := e.findImage(spec.Parent); parent != nil && spec.Parent != "" {
		e.world.parents[id] = parent.ID
	}
	e.world.images.put(id, i)
}

func (e *Engine) addContainer(spec ContainerSpec) {
	id := e.CreateContainer(spec.Name, spec.Image, spec.Volumes...)
	e.mu.Lock()
	at := e.now().Add(-time.Duration(spec.Age) * time.Second)
	gone := ""
	if i, _ := e.findImage(spec.Image); i == nil {
		gone = "sha256:" + e.world.newID("image")
	}
	attached := map[string]*network.EndpointSettings{}
	for _, name := range spec.Networks {
		if n := e.findNetwork(name); n != nil {
			attached[name] = &network.EndpointSettings{NetworkID: n.ID}
		}
	}
	e.mu.Unlock()
	e.ChangeContainer(id, func(c *container.InspectResponse) {
		c.Created = stamp(at)
		if gone != "" {
			c.Image = gone
		}
		if len(spec.Command) > 0 {
			c.Path, c.Args = spec.Command[0], spec.Command[1:]
		}
		c.Config.Labels, c.Config.StopTimeout = spec.Labels, spec.StopTimeout
		if len(spec.Networks) > 0 {
			c.NetworkSettings.Networks = attached
		}
		for _, p := range spec.Ports {
			addPort(c.NetworkSettings.Ports, p)
		}
		switch state := container.ContainerState(spec.State); state {
		case "", container.StateCreated:
			c.State.ExitCode, c.State.Error = spec.ExitCode, spec.Error
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			run(c, 1000, at)
			c.State.Status, c.State.Paused, c.State.Restarting = state, state == container.StatePaused, state == container.StateRestarting
			if state == container.StateRestarting {
				c.State.ExitCode, c.State.FinishedAt = spec.ExitCode, stamp(at)
			}
		default:
			c.State.StartedAt = stamp(at)
			exit(c, spec.ExitCode, at)
			c.State.Status, c.State.Dead = state, state == container.StateDead
		}
		if spec.Health != "" {
			c.State.Health = &container.Health{Status: container.HealthStatus(spec.Health)}
		}
	})
}

// addPort adds a port as `docker run` takes it.
func addPort(ports network.PortMap, spec string) {
	i := strings.LastIndex(spec, ":")
	port, err := network.ParsePort(spec[i+1:])
	if err != nil {
		panic(err) // the test's
	}
	if i < 0 {
		ports[port] = nil
		return
	}
	at, err := netip.ParseAddrPort(spec[:i])
	if err != nil {
		panic(err)
	}
	ports[port] = append(ports[port], network.PortBinding{HostIP: at.Addr(), HostPort: strconv.Itoa(int(at.Port()))})
}
