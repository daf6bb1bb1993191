//go:build unix

package requests

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror"
)

// oneContainer and stubbornTask are a containerd with a container that ignores signals.
type oneContainer struct {
	containersapi.UnimplementedContainersServer
}

func (oneContainer) Get(context.Context, *containersapi.GetContainerRequest) (*containersapi.GetContainerResponse, error) {
	return &containersapi.GetContainerResponse{Container: &containersapi.Container{ID: "c"}}, nil
}

type stubbornTask struct {
	tasksapi.UnimplementedTasksServer
	signals chan uint32
	waits   chan struct{}
}

func (stubbornTask) Get(context.Context, *tasksapi.GetRequest) (*tasksapi.GetResponse, error) {
	return &tasksapi.GetResponse{Process: &task.Process{ID: "c", Status: task.Status_RUNNING}}, nil
}

func (s stubbornTask) Kill(_ context.Context, r *tasksapi.KillRequest) (*emptypb.Empty, error) {
	s.signals <- r.Signal
	return &emptypb.Empty{}, nil
}

func (s stubbornTask) Wait(ctx context.Context, _ *tasksapi.WaitRequest) (*tasksapi.WaitResponse, error) {
	s.waits <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A container that is given time to stop keeps it when the supervisor ends meanwhile: whoever ends
// the engine gives it time, too.
func TestStopIsNotCutShort(t *testing.T) {
	socket := filepath.Join(endpointtest.Dir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := stubbornTask{signals: make(chan uint32, 10), waits: make(chan struct{}, 10)}
	server := grpc.NewServer()
	containersapi.RegisterContainersServer(server, oneContainer{})
	tasksapi.RegisterTasksServer(server, s)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	client, err := containerd.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- ctrd{&mirror.Containerd{Client: client}}.order(ctx, "default/c", ActionStop) }()
	if got := <-s.signals; got != uint32(syscall.SIGTERM) {
		t.Errorf("signal %d", got)
	}
	<-s.waits
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("the stop ends with %v", err)
	}
	_ = client.Close()
	server.GracefulStop() // all calls have ended
	if len(s.signals) > 0 {
		t.Errorf("it was killed: %d", <-s.signals)
	}
}
