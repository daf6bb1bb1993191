package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	cerrdefs "github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Containerd is a containerd of our own, with what nerdctl keeps beside it. Ids, and the names of
// volumes, are made by [containerd.Key]: each namespace has its own.
type Containerd struct {
	*containerd.Client
	files    nerdctlFiles
	bundles  string // the directory of the tasks' files
	rootless bool
	host     Host

	mu     sync.Mutex
	known  map[string]bool          // the namespaces, as last listed
	hellos map[string]chan struct{} // events of our own that are to come back
}

// Ping implements [Engine].
func (c *Containerd) Ping(ctx context.Context) error {
	_, err := c.Namespaces(ctx) // which takes what most calls do
	return err
}

func (*Containerd) replays() bool { return false }

func (c *Containerd) resources() []*resource {
	return []*resource{
		{kind: state.Containers, list: c.listContainers, inspect: c.inspectContainer},
		{kind: state.Images, list: c.listImages, inspect: c.inspectImage, listsAll: true},
		{kind: state.Volumes, list: c.files.volumes, listsAll: true},
		{kind: state.Networks, list: c.files.networks, listsAll: true},
		{kind: state.Namespaces, list: c.listNamespaces, listsAll: true},
	}
}

func (c *Containerd) facts(ctx context.Context, _ time.Time, _ time.Duration) (e state.Engine, err error) {
	// It is on this very machine.
	e = state.Engine{OS: runtime.GOOS, Arch: runtime.GOARCH, Rootless: c.rootless, NCPU: runtime.NumCPU()}
	e.Name, _ = os.Hostname()
	if e.ID, err = c.Server(ctx); err == nil {
		e.Version, err = c.Version(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return e, errNoAnswer
	}
	if err != nil {
		return e, fmt.Errorf("ask the engine what it is: %w", err)
	}
	return e, nil
}

// helloTopic is the topic of our own events.
const helloTopic = "/docker-rd/hello"

// watched selects the topics that matter. Those about content and snapshots only show that a
// namespace exists: one that is created by its first use has no event of its own.
const watched = `topic~="^/(containers|tasks|images|namespaces|content|snapshot|docker-rd)/"`

// watch implements [Engine]. containerd does not report when a subscription has begun, and replays
// nothing. So an event of our own is sent until it comes back.
func (c *Containerd) watch(ctx context.Context, timeout time.Duration, in *intake, run func(func())) (<-chan error, error) {
	ended := make(chan error, 1)
	run(func() {
		err := c.Subscribe(ctx, watched, func(e *types.Envelope) { c.event(in, e) })
		ended <- fmt.Errorf("event stream: %w", err)
	})
	run(func() { c.files.watch(ctx, in) })
	patience, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	back := make(chan error, 1)
	run(func() { back <- c.hello(patience) })
	select {
	case err := <-ended:
		return nil, err
	case err := <-back:
		if err != nil {
			err = fmt.Errorf("open the event stream: %w", err)
		}
		return ended, err
	}
}

// helloDelay is how soon an event of our own is sent again that does not come back.
const helloDelay = 50 * time.Millisecond

// helloNumber makes each of our events unique.
var helloNumber atomic.Uint64

// hello returns when all earlier events have come through the stream: it sends an event of our own,
// and waits until that comes back.
func (c *Containerd) hello(ctx context.Context) error {
	name := strconv.FormatInt(time.Now().UnixNano(), 36) + "-" + strconv.FormatUint(helloNumber.Add(1), 36)
	back := make(chan struct{})
	c.mu.Lock()
	c.hellos[name] = back
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.hellos, name)
	}()
	for {
		if err := c.Publish(ctx, helloTopic, name); err != nil {
			return err
		}
		select {
		case <-back:
			return nil
		case <-time.After(helloDelay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// catchUp implements [Engine].
func (c *Containerd) catchUp(ctx context.Context, in *intake) (sure bool, err error) {
	if err := c.hello(ctx); err != nil {
		return false, err
	}
	in.again(markLate)
	return true, nil
}

// markLate marks the kinds whose changes may be reported late: shims report what happens to tasks,
// and the operating system reports changes of files.
func markLate(m *marks) {
	for _, kind := range []state.Kind{state.Containers, state.Volumes, state.Networks} {
		m.kinds[kind] = true
	}
}

// event takes in an event.
func (c *Containerd) event(in *intake, e *types.Envelope) {
	first, second := containerd.Names(e)
	if e.Topic == helloTopic {
		c.mu.Lock()
		defer c.mu.Unlock()
		if back := c.hellos[first]; back != nil {
			close(back)
			delete(c.hellos, first)
		}
		return
	}
	c.mu.Lock()
	isNew := !c.known[e.Namespace]
	c.mu.Unlock()
	in.add(func(m *marks) {
		if isNew {
			m.kinds[state.Namespaces] = true
		}
		m.ofContainerd(e, first, second)
	}, false, false)
}

// ofContainerd marks what an event of containerd may have changed. Its message begins with the two
// strings.
func (m *marks) ofContainerd(e *types.Envelope, first, second string) {
	_, rest, _ := strings.Cut(e.Topic, "/")
	subject, action, _ := strings.Cut(rest, "/")
	switch subject {
	case "containers":
		m.object(state.Containers, containerd.Key(e.Namespace, first), mark{gone: action == "delete"})
	case "tasks":
		// Execs are processes of a container, and none of what is mirrored.
		if strings.HasPrefix(action, "exec-") || action == "exit" && second != first {
			return
		}
		m.object(state.Containers, containerd.Key(e.Namespace, first), mark{})
	case "images":
		m.kinds[state.Images] = true
		m.kinds[state.Containers] = true // their image may be another by now
	case "namespaces":
		m.kinds[state.Namespaces] = true
	}
}

func (c *Containerd) listNamespaces(ctx context.Context) (objects []any, err error) {
	names, err := c.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
		objects = append(objects, state.Namespace{Name: name})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = known
	return objects, nil
}

// each calls list for each namespace. One that is removed meanwhile counts as empty.
func (c *Containerd) each(ctx context.Context, list func(namespace string) error) error {
	names, err := c.Namespaces(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := list(name); err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("namespace %q: %w", name, err)
		}
	}
	return nil
}

func (c *Containerd) listContainers(ctx context.Context) (objects []any, err error) {
	err = c.each(ctx, func(namespace string) error {
		// Tasks last: each has a container.
		images, err := c.Images(ctx, namespace)
		if err != nil {
			return err
		}
		containers, err := c.Containers(ctx, namespace)
		if err != nil {
			return err
		}
		list, err := c.Tasks(ctx, namespace)
		if err != nil {
			return err
		}
		digests, tasks := map[string]string{}, map[string]*task.Process{}
		for _, i := range images {
			digests[i.Name] = i.Target.GetDigest()
		}
		for _, t := range list {
			tasks[t.ID] = t
		}
		for _, one := range containers {
			objects = append(objects, c.container(namespace, one, tasks[one.ID], digests[one.Image]))
		}
		return nil
	})
	return objects, err
}

func (c *Containerd) inspectContainer(ctx context.Context, key string) (any, error) {
	o, err := c.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Look returns a container as the mirror has it.
func (c *Containerd) Look(ctx context.Context, key string) (o state.Container, err error) {
	namespace, id := containerd.SplitKey(key)
	one, err := c.Container(ctx, namespace, id)
	if err != nil {
		return o, err
	}
	process, err := c.Task(ctx, namespace, id)
	if err == nil && taskStates[process.Status] == "" { // containerd 1 says so where 2 has an error
		err = errors.New("the container's shim does not answer")
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		return o, err
	}
	var image *imagesapi.Image
	if one.Image != "" {
		if image, err = c.Image(ctx, namespace, one.Image); err != nil && !cerrdefs.IsNotFound(err) {
			return o, err
		}
	}
	return c.container(namespace, one, process, image.GetTarget().GetDigest()), nil
}

// taskStates maps containerd's states of tasks to states of containers.
var taskStates = map[task.Status]string{
	task.Status_CREATED: state.StateCreated,
	task.Status_RUNNING: state.StateRunning,
	task.Status_STOPPED: state.StateExited,
	task.Status_PAUSED:  state.StatePaused,
	task.Status_PAUSING: state.StatePaused,
}

// container returns a container with its task, which may be nil, and the digest of its
// image, which may be unknown.
func (c *Containerd) container(namespace string, one *containersapi.Container, process *task.Process, digest string) state.Container {
	spec := readSpec(one.Spec.GetValue())
	n := readNerdctl(one.Labels)
	is := state.StateCreated
	if process != nil {
		is = cmp.Or(taskStates[process.Status], state.StateUnknown)
	}
	s := state.Container{
		ID: containerd.Key(namespace, one.ID), Name: cmp.Or(n.name, one.ID), Namespace: namespace, ImageRef: one.Image,
		Labels: one.Labels, Compose: compose(one.Labels), Limits: spec.limits(), State: is, Health: cmp.Or(n.health.Status, state.HealthNone),
		HealthCheck: n.health.check(), Error: n.failed, AutoRemove: n.autoRemove,
		RestartPolicy: n.restart, RestartCount: n.restarts, CreatedAt: timeOf(one.CreatedAt), Networks: n.networks, Mounts: n.mounts, Ports: c.files.ports(namespace, n),
	}
	if digest != "" {
		s.Image = containerd.Key(namespace, digest)
	}
	if len(spec.Process.Args) > 0 {
		s.Path, s.Args = spec.Process.Args[0], spec.Process.Args[1:]
	}
	if s.Mounts == nil {
		s.Mounts = spec.bindMounts()
	}
	if process.GetStatus() > task.Status_CREATED {
		// containerd does not report it. The shim writes this file right before the start.
		if info, err := os.Stat(filepath.Join(c.bundles, namespace, one.ID, "init.pid")); err == nil {
			s.StartedAt = sensible(info.ModTime())
		}
	}
	switch s.State {
	case state.StateRunning, state.StatePaused:
		s.PID = int(process.Pid)
	case state.StateExited:
		s.ExitCode, s.FinishedAt = int(process.ExitStatus), timeOf(process.ExitedAt)
	}
	return s
}

// timeOf returns a time of containerd's, which need not be set.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return sensible(t.AsTime())
}

// listImages returns the images: one for each namespace and digest that has a name.
func (c *Containerd) listImages(ctx context.Context) (objects []any, err error) {
	err = c.each(ctx, func(namespace string) error {
		names, err := c.Images(ctx, namespace)
		if err != nil {
			return err
		}
		slices.SortFunc(names, func(a, b *imagesapi.Image) int { return cmp.Compare(a.Name, b.Name) })
		byDigest := map[string]state.Image{}
		var order []string
		for _, n := range names {
			digest := n.Target.GetDigest()
			i, ok := byDigest[digest]
			if !ok {
				i = state.Image{ID: containerd.Key(namespace, digest), Namespace: namespace}
				order = append(order, digest)
			}
			if strings.Contains(n.Name, "@") {
				i.RepoDigests = append(i.RepoDigests, n.Name)
			} else {
				i.RepoTags = append(i.RepoTags, n.Name)
			}
			byDigest[digest] = i
		}
		for _, digest := range order {
			objects = append(objects, byDigest[digest])
		}
		return nil
	})
	return objects, err
}

// inspectImage returns the facts in an image's content. If a part of the content is missing, as
// usual for other platforms than this one, facts are missing until the image is named again:
// the pull that completes the content does that.
func (c *Containerd) inspectImage(ctx context.Context, key string) (any, error) {
	namespace, digest := containerd.SplitKey(key)
	answer, err := c.readImage(ctx, namespace, digest)
	if answer.partial = cerrdefs.IsNotFound(err); err != nil && !answer.partial {
		return nil, err
	}
	return answer, nil
}
