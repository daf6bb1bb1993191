package fakeengine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/volume"
)

// What tests do to the engine's objects, as some other client would. Each emits the
// events that moby emits for it.

// Populate adds so many objects of each kind, without events.
func (e *Engine) Populate(containers, images, volumes, networks int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for i := range images {
		img := e.world.newImage([]string{fmt.Sprintf("image%d:latest", i)}, now)
		e.world.images.put(img.ID, img)
	}
	for i := range volumes {
		v := e.world.newVolume(fmt.Sprintf("volume%d", i), now)
		e.world.volumes.put(v.Name, v)
	}
	for i := range networks {
		n := e.world.newNetwork(fmt.Sprintf("network%d", i), now)
		e.world.networks.put(n.ID, n)
	}
	for i := range containers {
		img := "none:latest"
		if images > 0 {
			img = fmt.Sprintf("image%d:latest", i%images)
		}
		c := e.world.newContainer(fmt.Sprintf("container%d", i), img, now)
		if i%2 == 0 {
			run(c, 1000+i, now)
		}
		e.world.containers.put(c.ID, c)
	}
}

// IDs returns the keys of a kind (containers, images, volumes, networks) in the
// order in which they were made.
func (e *Engine) IDs(kind string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch kind {
	case "containers":
		return slices.Clone(e.world.containers.order)
	case "images":
		return slices.Clone(e.world.images.order)
	case "volumes":
		return slices.Clone(e.world.volumes.order)
	case "networks":
		return slices.Clone(e.world.networks.order)
	}
	return nil
}

// Names returns the names of the containers by id.
func (e *Engine) Names() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make(map[string]string, len(e.world.containers.order))
	for id, o := range e.world.containers.objects {
		names[id] = strings.TrimPrefix(o.value.Name, "/")
	}
	return names
}

// CreateContainer makes a container, not running, with the named volumes mounted.
func (e *Engine) CreateContainer(name, img string, volumes ...string) (id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.world.newContainer(name, img, e.now())
	for i, v := range volumes {
		c.Mounts = append(c.Mounts, container.MountPoint{
			Type: mount.TypeVolume, Name: v, Source: "/var/lib/docker/volumes/" + v + "/_data", Destination: fmt.Sprintf("/mnt/%d", i), Driver: "local", RW: true,
		})
	}
	e.world.containers.put(c.ID, c)
	e.containerEvent(c, events.ActionCreate)
	return c.ID
}

// ChangeContainer changes a container and emits the given actions.
func (e *Engine) ChangeContainer(id string, change func(*container.InspectResponse), actions ...events.Action) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.world.containers.get(id)
	if c == nil {
		return
	}
	change(c)
	e.world.containers.put(id, c)
	for _, a := range actions {
		e.containerEvent(c, a)
	}
}

// ProbeContainer has a health check of a container end with an exit code, and then changes the
// container, as moby does it in this order.
func (e *Engine) ProbeContainer(id string, exitCode int, change func(*container.Health)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.world.containers.get(id)
	e.emit(events.ContainerEventType, events.ActionExecDie, c.ID, map[string]string{"execID": "x", "exitCode": fmt.Sprint(exitCode)})
	change(c.State.Health)
	e.world.containers.put(id, c)
}

// StartContainer and ExitContainer are what start and an exiting process do.
func (e *Engine) StartContainer(id string) {
	e.mu.Lock()
	now, pid := e.now(), 1000+e.world.serial
	e.world.serial++
	e.mu.Unlock()
	e.ChangeContainer(id, func(c *container.InspectResponse) { run(c, pid, now) }, events.ActionStart)
}

// ExitContainer makes a container's process end.
func (e *Engine) ExitContainer(id string, code int) {
	e.mu.Lock()
	now := e.now()
	e.mu.Unlock()
	e.ChangeContainer(id, func(c *container.InspectResponse) { exit(c, code, now) }, events.ActionDie)
}

// RemoveContainer removes a container, whatever its state.
func (e *Engine) RemoveContainer(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.world.containers.get(id); c != nil {
		e.world.containers.remove(id)
		e.containerEvent(c, events.ActionDestroy)
	}
}

func (e *Engine) containerEvent(c *container.InspectResponse, action events.Action) {
	attributes := map[string]string{"image": c.Config.Image, "name": strings.TrimPrefix(c.Name, "/")}
	maps.Copy(attributes, c.Config.Labels)
	e.emit(events.ContainerEventType, action, c.ID, attributes)
}

// CreateImage makes an image with the tags, taken from others that have them.
func (e *Engine) CreateImage(tags ...string) (id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	img := e.world.newImage(nil, e.now())
	e.world.images.put(img.ID, img)
	for _, tag := range tags {
		e.tag(img, tag)
	}
	return img.ID
}

// TagImage tags an image. Of a tag that moves the engine tells nothing but its new
// image.
func (e *Engine) TagImage(id, tag string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if img := e.world.images.get(id); img != nil {
		e.tag(img, tag)
	}
}

func (e *Engine) tag(img *image.InspectResponse, tag string) {
	for _, o := range e.world.images.objects {
		if i := slices.Index(o.value.RepoTags, tag); i >= 0 && o.value != img {
			o.value.RepoTags = slices.Delete(o.value.RepoTags, i, i+1)
			e.world.images.put(o.value.ID, o.value)
		}
	}
	if !slices.Contains(img.RepoTags, tag) {
		img.RepoTags = append(img.RepoTags, tag)
		e.world.images.put(img.ID, img)
	}
	e.emit(events.ImageEventType, events.ActionTag, img.ID, map[string]string{"name": tag})
}

// UnpackImage makes an image grow, as the first container does of an image in
// containerd. There is no event of it.
func (e *Engine) UnpackImage(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if img := e.world.images.get(id); img != nil {
		img.Size *= 2
		e.world.images.put(id, img)
	}
}

// CreateVolume makes a volume. An existing one of that name stays.
func (e *Engine) CreateVolume(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.createVolume(e.world.newVolume(name, e.now()))
}

func (e *Engine) createVolume(v *volume.Volume) {
	if e.world.volumes.get(v.Name) == nil {
		e.world.volumes.put(v.Name, v)
		e.emit(events.VolumeEventType, events.ActionCreate, v.Name, map[string]string{"driver": "local"})
	}
}

// RemoveVolume removes a volume, in use or not.
func (e *Engine) RemoveVolume(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.world.volumes.get(name) != nil {
		e.world.volumes.remove(name)
		e.emit(events.VolumeEventType, events.ActionDestroy, name, map[string]string{"driver": "local"})
	}
}

// CreateNetwork makes a network.
func (e *Engine) CreateNetwork(name string) (id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.world.newNetwork(name, e.now())
	e.world.networks.put(n.ID, n)
	e.emit(events.NetworkEventType, events.ActionCreate, n.ID, map[string]string{"name": name, "type": n.Driver})
	return n.ID
}

// RemoveNetwork removes a network.
func (e *Engine) RemoveNetwork(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.world.networks.get(id); n != nil {
		e.world.networks.remove(id)
		e.emit(events.NetworkEventType, events.ActionDestroy, id, map[string]string{"name": n.Name, "type": n.Driver})
	}
}
