// Package containerd speaks containerd's API, as far as docker rd needs it.
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

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
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

// New returns a client for the containerd at the socket. The caller closes it.
func New(socket string) (*Client, error) {
	c := &Client{}
	conn, err := grpc.NewClient("passthrough:///containerd",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			c.refused.Store(&err)
			return conn, err
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return c.native(call(ctx, method, request, answer, conn, o...))
		}),
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
// brings gogo/protobuf's registries along, which all commands would pay for when they start.
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

// in returns the context of a call in a namespace.
func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// receive calls take for each answer of a stream, until that returns an error or there are no more.
func receive[T any](c *Client, stream interface{ Recv() (*T, error) }, err error, take func(*T) error) error {
	for err == nil {
		var answer *T
		if answer, err = stream.Recv(); err == nil {
			err = take(answer)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return c.native(err)
}

// Server returns the identity of the containerd, which lasts as long as its data.
func (c *Client) Server(ctx context.Context) (id string, err error) {
	answer, err := introspectionapi.NewIntrospectionClient(c.conn).Server(ctx, &emptypb.Empty{})
	return answer.GetUUID(), err
}

// Version returns containerd's version.
func (c *Client) Version(ctx context.Context) (version string, err error) {
	answer, err := versionapi.NewVersionClient(c.conn).Version(ctx, &emptypb.Empty{})
	return answer.GetVersion(), err
}

// Namespaces returns the names of all namespaces.
func (c *Client) Namespaces(ctx context.Context) (names []string, err error) {
	answer, err := namespacesapi.NewNamespacesClient(c.conn).List(ctx, &namespacesapi.ListNamespacesRequest{})
	for _, n := range answer.GetNamespaces() {
		names = append(names, n.Name)
	}
	return names, err
}

func (c *Client) containers() containersapi.ContainersClient {
	return containersapi.NewContainersClient(c.conn)
}

// Containers returns all containers of a namespace.
func (c *Client) Containers(ctx context.Context, namespace string) (all []*containersapi.Container, err error) {
	ctx, cancel := context.WithCancel(in(ctx, namespace))
	defer cancel()
	// Not the plain list: an answer of many containers is larger than containerd sends.
	stream, err := c.containers().ListStream(ctx, &containersapi.ListContainersRequest{})
	err = receive(c, stream, err, func(answer *containersapi.ListContainerMessage) error {
		all = append(all, answer.Container)
		return nil
	})
	return all, err
}

// Container returns a container.
func (c *Client) Container(ctx context.Context, namespace, id string) (*containersapi.Container, error) {
	answer, err := c.containers().Get(in(ctx, namespace), &containersapi.GetContainerRequest{ID: id})
	return answer.GetContainer(), err
}

// DeleteContainer deletes a container that has no task.
func (c *Client) DeleteContainer(ctx context.Context, namespace, id string) error {
	_, err := c.containers().Delete(in(ctx, namespace), &containersapi.DeleteContainerRequest{ID: id})
	return err
}

// SetLabel sets a label of a container.
func (c *Client) SetLabel(ctx context.Context, namespace, id, label, value string) error {
	_, err := c.containers().Update(in(ctx, namespace), &containersapi.UpdateContainerRequest{
		Container:  &containersapi.Container{ID: id, Labels: map[string]string{label: value}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels." + label}},
	})
	return err
}

func (c *Client) tasks() tasksapi.TasksClient { return tasksapi.NewTasksClient(c.conn) }

// Tasks returns all tasks of a namespace. Of each, ID is the container's.
func (c *Client) Tasks(ctx context.Context, namespace string) ([]*task.Process, error) {
	answer, err := c.tasks().List(in(ctx, namespace), &tasksapi.ListTasksRequest{})
	return answer.GetTasks(), err
}

// Task returns the task of a container.
func (c *Client) Task(ctx context.Context, namespace, id string) (*task.Process, error) {
	answer, err := c.tasks().Get(in(ctx, namespace), &tasksapi.GetRequest{ContainerID: id})
	return answer.GetProcess(), err
}

// CreateTask makes the task of a container, which does not run yet.
func (c *Client) CreateTask(ctx context.Context, namespace string, r *tasksapi.CreateTaskRequest) error {
	_, err := c.tasks().Create(in(ctx, namespace), r)
	return err
}

// StartTask starts a task that was made.
func (c *Client) StartTask(ctx context.Context, namespace, id string) error {
	_, err := c.tasks().Start(in(ctx, namespace), &tasksapi.StartRequest{ContainerID: id})
	return err
}

// DeleteTask deletes a task that has ended.
func (c *Client) DeleteTask(ctx context.Context, namespace, id string) error {
	_, err := c.tasks().Delete(in(ctx, namespace), &tasksapi.DeleteTaskRequest{ContainerID: id})
	return err
}

// Kill sends a signal to a task, with all to each of its processes.
func (c *Client) Kill(ctx context.Context, namespace, id string, signal int, all bool) error {
	_, err := c.tasks().Kill(in(ctx, namespace), &tasksapi.KillRequest{ContainerID: id, Signal: uint32(signal), All: all})
	return err
}

// Pause freezes a task.
func (c *Client) Pause(ctx context.Context, namespace, id string) error {
	_, err := c.tasks().Pause(in(ctx, namespace), &tasksapi.PauseTaskRequest{ContainerID: id})
	return err
}

// Resume ends what [Client.Pause] began.
func (c *Client) Resume(ctx context.Context, namespace, id string) error {
	_, err := c.tasks().Resume(in(ctx, namespace), &tasksapi.ResumeTaskRequest{ContainerID: id})
	return err
}

// Wait returns when a task has ended.
func (c *Client) Wait(ctx context.Context, namespace, id string) error {
	_, err := c.tasks().Wait(in(ctx, namespace), &tasksapi.WaitRequest{ContainerID: id})
	return err
}

func (c *Client) images() imagesapi.ImagesClient { return imagesapi.NewImagesClient(c.conn) }

// Images returns all images of a namespace: names that lead to content.
func (c *Client) Images(ctx context.Context, namespace string) ([]*imagesapi.Image, error) {
	answer, err := c.images().List(in(ctx, namespace), &imagesapi.ListImagesRequest{})
	return answer.GetImages(), err
}

// Image returns an image.
func (c *Client) Image(ctx context.Context, namespace, name string) (*imagesapi.Image, error) {
	answer, err := c.images().Get(in(ctx, namespace), &imagesapi.GetImageRequest{Name: name})
	return answer.GetImage(), err
}

// DeleteImage deletes a name, and with the last one the content.
func (c *Client) DeleteImage(ctx context.Context, namespace, name string) error {
	_, err := c.images().Delete(in(ctx, namespace), &imagesapi.DeleteImageRequest{Name: name, Sync: true})
	return err
}

// maxContent bounds the content that is read: manifests and configurations are small.
const maxContent = 8 << 20

// Content returns content of a namespace, which must be small.
func (c *Client) Content(ctx context.Context, namespace, digest string) (data []byte, err error) {
	ctx, cancel := context.WithCancel(in(ctx, namespace))
	defer cancel()
	stream, err := contentapi.NewContentClient(c.conn).Read(ctx, &contentapi.ReadContentRequest{Digest: digest})
	err = receive(c, stream, err, func(answer *contentapi.ReadContentResponse) error {
		if data = append(data, answer.Data...); len(data) > maxContent {
			return fmt.Errorf("content %s has more than %d bytes", digest, maxContent)
		}
		return nil
	})
	return data, err
}

func (c *Client) snapshots() snapshotsapi.SnapshotsClient {
	return snapshotsapi.NewSnapshotsClient(c.conn)
}

// Mounts returns the mounts of a snapshot.
func (c *Client) Mounts(ctx context.Context, namespace, snapshotter, key string) ([]*types.Mount, error) {
	answer, err := c.snapshots().Mounts(in(ctx, namespace), &snapshotsapi.MountsRequest{Snapshotter: snapshotter, Key: key})
	return answer.GetMounts(), err
}

// RemoveSnapshot removes a snapshot.
func (c *Client) RemoveSnapshot(ctx context.Context, namespace, snapshotter, key string) error {
	_, err := c.snapshots().Remove(in(ctx, namespace), &snapshotsapi.RemoveSnapshotRequest{Snapshotter: snapshotter, Key: key})
	return err
}

// Subscribe calls take for each event that a filter lets through, until ctx ends or containerd
// ends, which is an error in any case. The subscription begins a little after the call.
func (c *Client) Subscribe(ctx context.Context, filter string, take func(*types.Envelope)) error {
	stream, err := eventsapi.NewEventsClient(c.conn).Subscribe(ctx, &eventsapi.SubscribeRequest{Filters: []string{filter}})
	err = receive(c, stream, err, func(e *types.Envelope) error {
		take(e)
		return nil
	})
	if err == nil {
		err = errors.New("the engine ended it")
	}
	return err
}

// Publish sends an event of a topic to all subscribers. It has the form of an update of a
// namespace of that name, and no effect on one.
func (c *Client) Publish(ctx context.Context, topic, name string) error {
	_, err := eventsapi.NewEventsClient(c.conn).Publish(in(ctx, "docker-rd"), &eventsapi.PublishRequest{
		Topic: topic,
		Event: &anypb.Any{
			TypeUrl: "containerd.events.NamespaceUpdate",
			Value:   protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name),
		},
	})
	return err
}

// Names returns the first and the second string of an event: what it is about. Of most that is
// the id or the name of the object; of a process that has ended the container's id and its own.
// The packages of the events themselves bring gogo/protobuf's registries along.
func Names(e *types.Envelope) (first, second string) {
	for data := e.GetEvent().GetValue(); len(data) > 0; {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			break
		}
		if kind == protowire.BytesType && number <= 2 {
			text, _ := protowire.ConsumeString(data)
			if number == 1 {
				first = text
			} else {
				second = text
			}
		}
		data = data[n:]
	}
	return first, second
}
