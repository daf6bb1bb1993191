// Package containerd speaks containerd's API, as far as docker rd needs it.
//
// It has messages of its own instead of containerd's packages: those register all their types at
// the start of each process, which makes docker's call for the plugin's metadata a tenth
// slower, and the program 0.8 MB larger. The tests hold the messages against containerd's.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A Client speaks to one containerd. It connects with the first call, and again when the
// connection was lost. Its methods may be called at the same time. Errors are those of
// package errdefs; calls end with their context.
type Client struct {
	conn *grpc.ClientConn
	// refused is why the last attempt to connect has failed: gRPC keeps only the text of it.
	refused atomic.Pointer[error]
}

// maxAnswer bounds what an answer takes: a list of all images may be large.
const maxAnswer = 1 << 30

// New returns a client for the containerd at the socket.
func New(socket string) (*Client, error) {
	c := &Client{}
	conn, err := grpc.NewClient("passthrough:///containerd",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			c.refused.Store(&err)
			return conn, err
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(wire{}), grpc.MaxCallRecvMsgSize(maxAnswer)),
		// A socket of this machine: whether somebody listens is known at once.
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second, Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 2, MaxDelay: 100 * time.Millisecond}}),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("containerd at %q: %w", socket, err)
	}
	c.conn = conn
	return c, nil
}

// Close ends the connection and all calls.
func (c *Client) Close() error { return c.conn.Close() }

const services = "/containerd.services."

// call makes a call in a namespace, "" for one that needs none.
func (c *Client) call(ctx context.Context, namespace, method string, request, answer any) error {
	return c.native(c.conn.Invoke(in(ctx, namespace), services+method, request, answer))
}

// native returns an error of gRPC's as one of package errdefs, or why nobody could be asked.
func (c *Client) native(err error) error {
	err = classify(err)
	if refused := c.refused.Load(); errdefs.IsUnavailable(err) && refused != nil && *refused != nil {
		return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, *refused)
	}
	return err
}

// classes are the errors of package errdefs by gRPC's codes.
var classes = map[codes.Code]error{
	codes.Canceled:           context.Canceled,
	codes.DeadlineExceeded:   context.DeadlineExceeded,
	codes.InvalidArgument:    errdefs.ErrInvalidArgument,
	codes.NotFound:           errdefs.ErrNotFound,
	codes.AlreadyExists:      errdefs.ErrAlreadyExists,
	codes.FailedPrecondition: errdefs.ErrFailedPrecondition,
	codes.PermissionDenied:   errdefs.ErrPermissionDenied,
	codes.ResourceExhausted:  errdefs.ErrResourceExhausted,
	codes.Unimplemented:      errdefs.ErrNotImplemented,
	codes.Unavailable:        errdefs.ErrUnavailable,
}

// classify returns an error of gRPC's as one of package errdefs. That package's own way, errgrpc,
// brings protobuf's registries along, which all commands would pay for when they start.
func classify(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	class := classes[s.Code()]
	if class == nil {
		class = errdefs.ErrUnknown
	}
	// containerd ends its message with the class.
	if message := strings.TrimSuffix(strings.TrimSuffix(s.Message(), class.Error()), ": "); message != "" {
		return fmt.Errorf("%s: %w", message, class)
	}
	return class
}

func in(ctx context.Context, namespace string) context.Context {
	if namespace == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// stream makes a call with any number of answers, each made by answer, until that returns an
// error or there are no more.
func (c *Client) stream(ctx context.Context, namespace, method string, request any, answer func(receive func(any) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.conn.NewStream(in(ctx, namespace), &grpc.StreamDesc{ServerStreams: true}, services+method)
	if err != nil {
		return c.native(err)
	}
	if err = s.SendMsg(request); err == nil {
		err = s.CloseSend()
	}
	for err == nil {
		err = answer(s.RecvMsg)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return c.native(err)
}

type empty struct{}

type byID struct {
	ID string `pb:"1"`
}

// Server returns the identity of the containerd, which lasts as long as its data.
func (c *Client) Server(ctx context.Context) (id string, err error) {
	var answer byID
	err = c.call(ctx, "", "introspection.v1.Introspection/Server", &empty{}, &answer)
	return answer.ID, err
}

// Version returns containerd's version.
func (c *Client) Version(ctx context.Context) (version string, err error) {
	var answer byID
	err = c.call(ctx, "", "version.v1.Version/Version", &empty{}, &answer)
	return answer.ID, err
}

// Namespaces returns the names of all namespaces.
func (c *Client) Namespaces(ctx context.Context) (names []string, err error) {
	var answer struct {
		Namespaces []byID `pb:"1"`
	}
	err = c.call(ctx, "", "namespaces.v1.Namespaces/List", &empty{}, &answer)
	for _, n := range answer.Namespaces {
		names = append(names, n.ID)
	}
	return names, err
}

// A Container is what containerd knows of a container: not whether it runs, see [Task].
type Container struct {
	ID          string            `pb:"1"`
	Labels      map[string]string `pb:"2"`
	Image       string            `pb:"3"`
	Spec        Any               `pb:"5"`
	Snapshotter string            `pb:"6"`
	SnapshotKey string            `pb:"7"`
	CreatedAt   time.Time         `pb:"8"`
}

// Any is a message of another kind: of a container's specification it is JSON.
type Any struct {
	Type  string `pb:"1"`
	Value []byte `pb:"2"`
}

type oneContainer struct {
	Container Container `pb:"1"`
}

// Containers returns all containers of a namespace.
func (c *Client) Containers(ctx context.Context, namespace string) (all []Container, err error) {
	// Not the plain list: an answer of many containers is larger than containerd sends.
	err = c.stream(ctx, namespace, "containers.v1.Containers/ListStream", &empty{}, func(receive func(any) error) error {
		var answer oneContainer
		err := receive(&answer)
		if err == nil {
			all = append(all, answer.Container)
		}
		return err
	})
	return all, err
}

// Container returns a container.
func (c *Client) Container(ctx context.Context, namespace, id string) (Container, error) {
	var answer oneContainer
	err := c.call(ctx, namespace, "containers.v1.Containers/Get", &byID{id}, &answer)
	return answer.Container, err
}

// DeleteContainer deletes a container that has no task.
func (c *Client) DeleteContainer(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "containers.v1.Containers/Delete", &byID{id}, &empty{})
}

// SetLabel sets a label of a container.
func (c *Client) SetLabel(ctx context.Context, namespace, id, label, value string) error {
	return c.call(ctx, namespace, "containers.v1.Containers/Update", newLabelUpdate(id, label, value), &empty{})
}

// A labelUpdate changes a label of a container.
type labelUpdate struct {
	Container struct {
		ID     string            `pb:"1"`
		Labels map[string]string `pb:"2"`
	} `pb:"1"`
	Mask struct {
		Paths []string `pb:"1"`
	} `pb:"2"`
}

func newLabelUpdate(id, label, value string) *labelUpdate {
	var u labelUpdate
	u.Container.ID, u.Container.Labels = id, map[string]string{label: value}
	u.Mask.Paths = []string{"labels." + label}
	return &u
}

// The states of a task.
const (
	TaskCreated = 1 + iota
	TaskRunning
	TaskStopped
	TaskPaused
	TaskPausing
)

// A Task is the process of a container.
type Task struct {
	ID         string    `pb:"2"` // the container's
	PID        int       `pb:"3"` // in the pid namespace of containerd
	State      int       `pb:"4"`
	ExitStatus int       `pb:"9"`
	ExitedAt   time.Time `pb:"10"`
}

// Tasks returns all tasks of a namespace.
func (c *Client) Tasks(ctx context.Context, namespace string) ([]Task, error) {
	var answer struct {
		Tasks []Task `pb:"1"`
	}
	err := c.call(ctx, namespace, "tasks.v1.Tasks/List", &empty{}, &answer)
	return answer.Tasks, err
}

// Task returns the task of a container.
func (c *Client) Task(ctx context.Context, namespace, id string) (Task, error) {
	var answer struct {
		Task Task `pb:"1"`
	}
	err := c.call(ctx, namespace, "tasks.v1.Tasks/Get", &byID{id}, &answer)
	return answer.Task, err
}

// A TaskRequest says how a task is made.
type TaskRequest struct {
	ID       string  `pb:"1"`
	Rootfs   []Mount `pb:"3"`
	Stdout   string  `pb:"5"` // URLs; "" for nowhere
	Stderr   string  `pb:"6"`
	Terminal bool    `pb:"7"`
}

// A Mount is one of a snapshot.
type Mount struct {
	Type    string   `pb:"1"`
	Source  string   `pb:"2"`
	Target  string   `pb:"3"`
	Options []string `pb:"4"`
}

// CreateTask makes the task of a container, which does not run yet.
func (c *Client) CreateTask(ctx context.Context, namespace string, r TaskRequest) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Create", &r, &empty{})
}

// StartTask starts a task that was made.
func (c *Client) StartTask(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Start", &byID{id}, &empty{})
}

// DeleteTask deletes a task that has ended.
func (c *Client) DeleteTask(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Delete", &byID{id}, &empty{})
}

// Kill sends a signal to a task, with all to each of its processes.
func (c *Client) Kill(ctx context.Context, namespace, id string, signal int, all bool) error {
	request := struct {
		ID     string `pb:"1"`
		Signal int    `pb:"3"`
		All    bool   `pb:"4"`
	}{id, signal, all}
	return c.call(ctx, namespace, "tasks.v1.Tasks/Kill", &request, &empty{})
}

// Pause freezes a task.
func (c *Client) Pause(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Pause", &byID{id}, &empty{})
}

// Resume ends what [Client.Pause] began.
func (c *Client) Resume(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Resume", &byID{id}, &empty{})
}

// Wait returns when a task has ended.
func (c *Client) Wait(ctx context.Context, namespace, id string) error {
	return c.call(ctx, namespace, "tasks.v1.Tasks/Wait", &byID{id}, &empty{})
}

// An Image is a name that leads to content.
type Image struct {
	Name   string     `pb:"1"`
	Target Descriptor `pb:"3"`
}

// A Descriptor names content.
type Descriptor struct {
	Digest string `pb:"2"`
}

// Images returns all images of a namespace.
func (c *Client) Images(ctx context.Context, namespace string) ([]Image, error) {
	var answer struct {
		Images []Image `pb:"1"`
	}
	err := c.call(ctx, namespace, "images.v1.Images/List", &empty{}, &answer)
	return answer.Images, err
}

// Image returns an image.
func (c *Client) Image(ctx context.Context, namespace, name string) (Image, error) {
	var answer struct {
		Image Image `pb:"1"`
	}
	err := c.call(ctx, namespace, "images.v1.Images/Get", &byID{name}, &answer)
	return answer.Image, err
}

// DeleteImage deletes a name. The content goes a little after its last name.
func (c *Client) DeleteImage(ctx context.Context, namespace, name string) error {
	return c.call(ctx, namespace, "images.v1.Images/Delete", &byID{name}, &empty{})
}

// maxContent bounds the content that is read: manifests and configurations are small.
const maxContent = 8 << 20

// Content returns content of a namespace, which must be small.
func (c *Client) Content(ctx context.Context, namespace, digest string) (data []byte, err error) {
	err = c.stream(ctx, namespace, "content.v1.Content/Read", &byID{digest}, func(receive func(any) error) error {
		var answer struct {
			Data []byte `pb:"2"`
		}
		err := receive(&answer)
		if data = append(data, answer.Data...); len(data) > maxContent {
			return fmt.Errorf("content %s has more than %d bytes", digest, maxContent)
		}
		return err
	})
	return data, err
}

type snapshot struct {
	Snapshotter string `pb:"1"`
	Key         string `pb:"2"`
}

// Mounts returns the mounts of a snapshot.
func (c *Client) Mounts(ctx context.Context, namespace, snapshotter, key string) ([]Mount, error) {
	var answer struct {
		Mounts []Mount `pb:"1"`
	}
	err := c.call(ctx, namespace, "snapshots.v1.Snapshots/Mounts", &snapshot{snapshotter, key}, &answer)
	return answer.Mounts, err
}

// RemoveSnapshot removes a snapshot.
func (c *Client) RemoveSnapshot(ctx context.Context, namespace, snapshotter, key string) error {
	return c.call(ctx, namespace, "snapshots.v1.Snapshots/Remove", &snapshot{snapshotter, key}, &empty{})
}

// An Event is an event of containerd.
type Event struct {
	Namespace string `pb:"2"`
	Topic     string `pb:"3"`
	Event     Any    `pb:"4"`
}

// Subscribe calls receive for each event that a filter lets through, until ctx ends or containerd
// ends, which is an error in any case. The subscription begins a little after the call.
func (c *Client) Subscribe(ctx context.Context, filter string, receive func(Event)) error {
	request := struct {
		Filters []string `pb:"1"`
	}{[]string{filter}}
	err := c.stream(ctx, "", "events.v1.Events/Subscribe", &request, func(next func(any) error) error {
		var e Event
		err := next(&e)
		if err == nil {
			receive(e)
		}
		return err
	})
	if err == nil {
		err = errors.New("the engine ended it")
	}
	return err
}

// Publish sends an event of a topic to all subscribers. It has the form of an update of a
// namespace of that name, and no effect on one.
func (c *Client) Publish(ctx context.Context, topic, name string) error {
	request := struct {
		Topic string `pb:"1"`
		Event Any    `pb:"2"`
	}{topic, Any{Type: "containerd.events.NamespaceUpdate"}}
	request.Event.Value, _ = wire{}.Marshal(&byID{name})
	return c.call(ctx, "docker-rd", "events.v1.Events/Publish", &request, &empty{})
}

// Names returns the first and the second string of an event: what it is about. Of most that is
// the id or the name of the object; of a process that has ended the container's id and its own.
func (e Event) Names() (first, second string) {
	var names struct {
		First  string `pb:"1"`
		Second string `pb:"2"`
	}
	_ = wire{}.Unmarshal(e.Event.Value, &names) // what is no string is none
	return names.First, names.Second
}
