package fakeengine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

var versionPrefix = regexp.MustCompile(`^/v[0-9]+\.[0-9]+/`)

// apiError is an answer that is not a success.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func notFound(what, id string) error {
	return &apiError{http.StatusNotFound, fmt.Sprintf("No such %s: %s", what, id)}
}

func conflict(format string, args ...any) error {
	return &apiError{http.StatusConflict, fmt.Sprintf(format, args...)}
}

// errNotModified is the answer of an action that has nothing to do.
var errNotModified = &apiError{http.StatusNotModified, ""}

func (e *Engine) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if p := versionPrefix.FindString(path); p != "" {
			path = path[len(p)-1:]
		}
		e.mu.Lock()
		f, answer := e.facts, e.faults.Answer
		e.mu.Unlock()
		if answer != nil && answer(w, r, path) {
			return
		}
		w.Header().Set("Api-Version", f.APIVersion)
		w.Header().Set("Ostype", f.OS)
		w.Header().Set("Server", "Docker/"+f.Version+" ("+f.OS+")")
		if f.Podman {
			w.Header().Set("Libpod-Api-Version", f.Version)
		}
		if !e.wait(r.Context(), 0) {
			return
		}
		e.route(w, r, path)
	})
}

func (e *Engine) count(r *http.Request, route string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls[r.Method+" "+route]++
}

func (e *Engine) route(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	last := parts[len(parts)-1]
	id := strings.Join(parts[1:], "/")
	if len(parts) > 2 {
		id = strings.Join(parts[1:len(parts)-1], "/")
	}
	id, _ = url.PathUnescape(id)
	get := r.Method == http.MethodGet
	switch {
	case path == "/_ping":
		e.count(r, path)
		_, _ = w.Write([]byte("OK"))
	case path == "/version" && get:
		e.count(r, path)
		reply(w, e.version(), nil)
	case path == "/info" && get:
		e.count(r, path)
		info, delay := e.info()
		if e.wait(r.Context(), delay) {
			reply(w, info, nil)
		}
	case path == "/system/df" && get:
		e.count(r, path)
		reply(w, e.diskUsage(), nil)
	case path == "/events" && get:
		e.count(r, path)
		e.serveEvents(w, r)
	case path == "/containers/json" && get:
		e.serveList(w, r, "containers", path)
	case path == "/images/json" && get:
		e.serveList(w, r, "images", path)
	case path == "/volumes" && get:
		e.serveList(w, r, "volumes", path)
	case path == "/networks" && get:
		e.serveList(w, r, "networks", path)
	case get && (parts[0] == "containers" || parts[0] == "images") && last == "json":
		e.serveInspect(w, r, parts[0], id)
	case get && (parts[0] == "volumes" || parts[0] == "networks"):
		e.serveInspect(w, r, parts[0], strings.Join(parts[1:], "/"))
	case r.Method == http.MethodPost && last == "create":
		e.count(r, path)
		v, err := e.create(r, parts[0])
		reply(w, v, err)
	case r.Method == http.MethodPost && parts[0] == "containers":
		e.count(r, "/containers/{id}/"+last)
		reply(w, nil, e.act(r, id, last))
	case r.Method == http.MethodPost && parts[0] == "images" && last == "tag":
		e.count(r, "/images/{id}/tag")
		reply(w, nil, e.tagCall(id, r.URL.Query()))
	case r.Method == http.MethodDelete && len(parts) > 1:
		e.count(r, "/"+parts[0]+"/{id}")
		v, err := e.remove(parts[0], strings.Join(parts[1:], "/"), r.URL.Query().Get("force") == "1" || r.URL.Query().Get("force") == "true")
		reply(w, v, err)
	default:
		reply(w, nil, &apiError{http.StatusNotFound, "page not found"})
	}
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		if e, ok := err.(*apiError); ok {
			status = e.status
		}
		w.WriteHeader(status)
		if status != http.StatusNotModified {
			_ = json.NewEncoder(w).Encode(map[string]string{"message": err.Error()})
		}
		return
	}
	switch v := v.(type) {
	case nil:
		w.WriteHeader(http.StatusNoContent)
	case json.RawMessage:
		_, _ = w.Write(v)
	default:
		_ = json.NewEncoder(w).Encode(v)
	}
}

func (e *Engine) version() system.VersionResponse {
	e.mu.Lock()
	defer e.mu.Unlock()
	return system.VersionResponse{Version: e.facts.Version, APIVersion: e.facts.APIVersion, MinAPIVersion: "1.24", Os: e.facts.OS}
}

func (e *Engine) info() (info system.Info, delay time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := system.Info{
		ID: e.facts.ID, ServerVersion: e.facts.Version, OSType: e.facts.OS, Architecture: e.facts.Arch,
		Name: "fake-host", Driver: "overlay2", NCPU: 4, MemTotal: 8 << 30,
		SystemTime: e.now().Format(time.RFC3339Nano), Containers: len(e.world.containers.order), Images: len(e.world.images.order),
	}
	if e.facts.Podman {
		i.ID = fmt.Sprintf("%x", rand.Uint64())
	}
	if e.facts.Snapshotter {
		i.Driver, i.DriverStatus = "overlayfs", [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
	}
	if e.facts.Rootless {
		i.SecurityOptions = []string{"name=seccomp,profile=default", "name=rootless"}
	}
	return i, e.faults.InfoDelay
}

// diskUsage answers as before API 1.52: containers have written 10 bytes and images share 100
// bytes, a volume has 1000.
func (e *Engine) diskUsage() any {
	e.mu.Lock()
	defer e.mu.Unlock()
	images, containers, volumes := []image.Summary{}, []container.Summary{}, []volume.Volume{}
	for id, o := range e.world.images.objects {
		images = append(images, image.Summary{ID: id, Size: o.value.Size, SharedSize: 100})
	}
	for id, o := range e.world.containers.objects {
		size := int64(10)
		if i := e.world.images.get(o.value.Image); i != nil {
			size += i.Size
		}
		containers = append(containers, container.Summary{ID: id, SizeRw: 10, SizeRootFs: size})
	}
	for _, o := range e.world.volumes.objects {
		v := *o.value
		v.UsageData = &volume.UsageData{Size: 1000}
		volumes = append(volumes, v)
	}
	return map[string]any{"Images": images, "Containers": containers, "Volumes": volumes}
}

func (e *Engine) serveList(w http.ResponseWriter, r *http.Request, kind, route string) {
	e.count(r, route)
	e.mu.Lock()
	f := e.faults
	var body json.RawMessage
	switch kind {
	case "containers":
		body = e.world.containers.listing()
		if all := r.URL.Query().Get("all"); all != "1" && all != "true" {
			body = e.running()
		}
	case "images":
		body = e.world.images.listing()
	case "volumes":
		body = mustEncode(map[string]any{"Volumes": json.RawMessage(e.world.volumes.listing()), "Warnings": []string{}})
	case "networks":
		body = f.networks(e.world.networks.listing())
	}
	e.mu.Unlock()
	if !e.wait(r.Context(), f.ListDelay) {
		return
	}
	if f.ListStatus != nil {
		if status := f.ListStatus(kind); status != 0 {
			reply(w, nil, &apiError{status, "the " + kind + " can't be listed"})
			return
		}
	}
	reply(w, body, nil)
}

func (e *Engine) running() json.RawMessage {
	list := []json.RawMessage{}
	for _, id := range e.world.containers.order {
		if o := e.world.containers.objects[id]; o.value.State.Status == container.StateRunning {
			list = append(list, o.list)
		}
	}
	return mustEncode(list)
}

// networks returns an answer with networks as the faults have it.
func (f *Faults) networks(body json.RawMessage) json.RawMessage {
	if f.NilGateway {
		return bytes.ReplaceAll(body, []byte(`"Subnet":`), []byte(`"Gateway":"\u003cnil\u003e","Subnet":`))
	}
	return body
}

func (e *Engine) serveInspect(w http.ResponseWriter, r *http.Request, kind, id string) {
	e.count(r, "/"+kind+"/{id}")
	e.mu.Lock()
	f := e.faults
	var body json.RawMessage
	switch kind {
	case "containers":
		if c := e.findContainer(id); c != nil {
			body = e.world.containers.objects[c.ID].inspect
		}
	case "images":
		if i, _ := e.findImage(id); i != nil {
			body = e.world.images.objects[i.ID].inspect
		}
	case "volumes":
		if o := e.world.volumes.objects[id]; o != nil {
			body = o.inspect
		}
	case "networks":
		if n := e.findNetwork(id); n != nil {
			body = f.networks(e.world.networks.objects[n.ID].inspect)
		}
	}
	e.mu.Unlock()
	if !e.wait(r.Context(), f.InspectDelay) {
		return
	}
	if f.InspectStatus != nil {
		if status := f.InspectStatus(kind, id); status != 0 {
			reply(w, nil, &apiError{status, "it can't be inspected"})
			return
		}
	}
	if body == nil {
		reply(w, nil, notFound(strings.TrimSuffix(kind, "s"), id))
		return
	}
	reply(w, body, nil)
}

// findContainer finds by id, a part of it, or name.
func (e *Engine) findContainer(ref string) *container.InspectResponse {
	if c := e.world.containers.get(ref); c != nil {
		return c
	}
	for _, o := range e.world.containers.objects {
		if o.value.Name == "/"+ref || strings.HasPrefix(o.value.ID, ref) {
			return o.value
		}
	}
	return nil
}

// findImage finds by id or tag, and returns the tag it was found by.
func (e *Engine) findImage(ref string) (*image.InspectResponse, string) {
	if i := e.world.images.get(ref); i != nil {
		return i, ""
	}
	for _, o := range e.world.images.objects {
		if slices.Contains(o.value.RepoDigests, ref) {
			return o.value, ""
		}
	}
	if !strings.Contains(ref, ":") {
		ref += ":latest"
	}
	for _, o := range e.world.images.objects {
		if slices.Contains(o.value.RepoTags, ref) {
			return o.value, ref
		}
	}
	return nil, ""
}

func (e *Engine) findNetwork(ref string) *network.Inspect {
	for _, o := range e.world.networks.objects {
		if o.value.ID == ref || o.value.Name == ref {
			return o.value
		}
	}
	return nil
}

func (e *Engine) create(r *http.Request, kind string) (any, error) {
	switch kind {
	case "containers":
		var req struct {
			container.Config
			HostConfig *container.HostConfig
		}
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, &apiError{http.StatusBadRequest, err.Error()}
		}
		e.mu.Lock()
		if i, _ := e.findImage(req.Image); i == nil {
			e.mu.Unlock()
			return nil, notFound("image", req.Image)
		}
		name := r.URL.Query().Get("name")
		if name == "" {
			name = "name" + e.world.newID("name")[:8]
		}
		taken := e.findContainer(name) != nil
		e.mu.Unlock()
		if taken {
			return nil, conflict("Conflict. The container name %q is already in use", "/"+name)
		}
		return container.CreateResponse{ID: e.CreateContainer(name, req.Image), Warnings: []string{}}, nil
	case "volumes":
		var req volume.CreateRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, &apiError{http.StatusBadRequest, err.Error()}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if req.Name == "" {
			req.Name = e.world.newID("volume")
		}
		v := e.world.newVolume(req.Name, e.now())
		v.Labels = req.Labels
		e.createVolume(v)
		return e.world.volumes.get(req.Name), nil
	case "networks":
		var req network.CreateRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, &apiError{http.StatusBadRequest, err.Error()}
		}
		return map[string]string{"Id": e.CreateNetwork(req.Name), "Warning": ""}, nil
	}
	return nil, &apiError{http.StatusNotFound, "page not found"}
}

// act does an action on a container, with moby's refusals.
func (e *Engine) act(r *http.Request, ref, action string) error {
	e.mu.Lock()
	c := e.findContainer(ref)
	stopTakes, startFails := e.faults.StopTakes, e.faults.StartFails
	var status container.ContainerState
	if c != nil {
		status = c.State.Status
	}
	e.mu.Unlock()
	if c == nil {
		return notFound("container", ref)
	}
	alive := status == container.StateRunning || status == container.StatePaused || status == container.StateRestarting
	stop := func() error {
		if !e.wait(r.Context(), stopTakes) {
			return &apiError{http.StatusInternalServerError, "the client went away"}
		}
		e.mu.Lock()
		now := e.now()
		e.mu.Unlock()
		e.ChangeContainer(c.ID, func(c *container.InspectResponse) { exit(c, 137, now) }, events.ActionKill, events.ActionDie, events.ActionStop)
		return nil
	}
	switch action {
	case "start":
		switch {
		case status == container.StatePaused:
			return conflict("cannot start a paused container, try unpause instead")
		case status == container.StateDead || status == container.StateRemoving:
			return conflict("container is marked for removal and cannot be started")
		case alive:
			return errNotModified
		case startFails != "":
			e.ChangeContainer(c.ID, func(c *container.InspectResponse) {
				c.State.Error, c.State.ExitCode = startFails, 127
			})
			return &apiError{http.StatusInternalServerError, startFails}
		}
		e.StartContainer(c.ID)
		return nil
	case "stop", "kill":
		if !alive {
			if action == "kill" {
				return conflict("Container %s is not running", c.ID)
			}
			return errNotModified
		}
		return stop()
	case "restart":
		if status == container.StateDead || status == container.StateRemoving {
			return conflict("container is marked for removal and cannot be started")
		}
		if alive {
			if err := stop(); err != nil {
				return err
			}
		}
		e.StartContainer(c.ID)
		e.ChangeContainer(c.ID, func(*container.InspectResponse) {}, events.ActionRestart)
		return nil
	case "pause":
		if status != container.StateRunning {
			return conflict("Container %s is not running", c.ID)
		}
		e.ChangeContainer(c.ID, func(c *container.InspectResponse) {
			c.State.Status, c.State.Paused = container.StatePaused, true
		}, events.ActionPause)
		return nil
	case "unpause":
		if status != container.StatePaused {
			return conflict("Container %s is not paused", c.ID)
		}
		e.ChangeContainer(c.ID, func(c *container.InspectResponse) {
			c.State.Status, c.State.Paused = container.StateRunning, false
		}, events.ActionUnPause)
		return nil
	}
	return &apiError{http.StatusNotFound, "page not found"}
}

func (e *Engine) tagCall(ref string, q url.Values) error {
	e.mu.Lock()
	img, _ := e.findImage(ref)
	e.mu.Unlock()
	if img == nil {
		return notFound("image", ref)
	}
	tag := q.Get("tag")
	if tag == "" {
		tag = "latest"
	}
	e.TagImage(img.ID, q.Get("repo")+":"+tag)
	return nil
}

// remove removes an object, with moby's refusals.
func (e *Engine) remove(kind, ref string, force bool) (any, error) {
	switch kind {
	case "containers":
		e.mu.Lock()
		c := e.findContainer(ref)
		var s container.ContainerState
		if c != nil {
			s = c.State.Status
		}
		e.mu.Unlock()
		if c == nil {
			return nil, notFound("container", ref)
		}
		if (s == container.StateRunning || s == container.StatePaused) && !force {
			return nil, conflict("cannot remove container %q: container is %s: stop the container before removing or force remove", c.Name, s)
		}
		e.RemoveContainer(c.ID)
		return nil, nil
	case "images":
		return e.removeImage(ref, force)
	case "volumes":
		e.mu.Lock()
		v, user := e.world.volumes.get(ref), ""
		for _, o := range e.world.containers.objects {
			if usesVolume(o.value, ref) {
				user = o.value.ID
			}
		}
		e.mu.Unlock()
		if v == nil {
			return nil, notFound("volume", ref)
		}
		if user != "" {
			return nil, conflict("remove %s: volume is in use - [%s]", ref, user)
		}
		e.RemoveVolume(ref)
		return nil, nil
	case "networks":
		e.mu.Lock()
		n := e.findNetwork(ref)
		e.mu.Unlock()
		if n == nil {
			return nil, notFound("network", ref)
		}
		e.RemoveNetwork(n.ID)
		return nil, nil
	}
	return nil, &apiError{http.StatusNotFound, "page not found"}
}

func (e *Engine) removeImage(ref string, force bool) (any, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	img, tag := e.findImage(ref)
	if img == nil {
		return nil, notFound("image", ref)
	}
	if tag != "" && len(img.RepoTags) > 1 {
		img.RepoTags = slices.DeleteFunc(img.RepoTags, func(t string) bool { return t == tag })
		e.world.images.put(img.ID, img)
		e.emit(events.ImageEventType, events.ActionUnTag, img.ID, map[string]string{"name": img.ID})
		return []image.DeleteResponse{{Untagged: tag}}, nil
	}
	if tag == "" && len(img.RepoTags) > 1 && !force {
		return nil, conflict("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", img.ID)
	}
	for _, o := range e.world.containers.objects {
		if o.value.Image == img.ID && !force {
			return nil, conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", ref, o.value.ID[:12], img.ID)
		}
	}
	e.world.images.remove(img.ID)
	e.emit(events.ImageEventType, events.ActionUnTag, img.ID, map[string]string{"name": img.ID})
	e.emit(events.ImageEventType, events.ActionDelete, img.ID, map[string]string{"name": img.ID})
	return []image.DeleteResponse{{Untagged: tag}, {Deleted: img.ID}}, nil
}
