//go:build unix

package containerd

import (
	"reflect"
	"testing"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	introspectionapi "github.com/containerd/containerd/api/services/introspection/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Our messages are read as containerd writes its own.
func TestAnswers(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	labels := map[string]string{"a": "b", "empty": ""}
	for _, test := range []struct {
		theirs     proto.Message
		ours, want any
	}{
		{
			&containersapi.GetContainerResponse{Container: &containersapi.Container{
				ID: "id", Labels: labels, Image: "image", Runtime: &containersapi.Container_Runtime{Name: "runc"},
				Spec: &anypb.Any{TypeUrl: "type", Value: []byte("{}")}, Snapshotter: "overlayfs", SnapshotKey: "key",
				CreatedAt: timestamppb.New(at), UpdatedAt: timestamppb.New(at), Extensions: map[string]*anypb.Any{"x": {TypeUrl: "y"}},
			}},
			&oneContainer{},
			&oneContainer{Container{
				ID: "id", Labels: labels, Image: "image", Spec: Any{"type", []byte("{}")}, Snapshotter: "overlayfs", SnapshotKey: "key", CreatedAt: at,
			}},
		},
		{
			&task.Process{ContainerID: "c", ID: "id", Pid: 7, Status: task.Status_PAUSED, Stdin: "x", Terminal: true, ExitStatus: 137, ExitedAt: timestamppb.New(at)},
			&Task{}, &Task{ID: "id", PID: 7, State: TaskPaused, ExitStatus: 137, ExitedAt: at},
		},
		{
			&imagesapi.Image{Name: "name", Labels: labels, Target: &types.Descriptor{MediaType: "m", Digest: "d", Size: 1 << 40}, CreatedAt: timestamppb.New(at)},
			&Image{}, &Image{Name: "name", Target: Descriptor{"d"}},
		},
		{
			&types.Envelope{Timestamp: timestamppb.New(at), Namespace: "n", Topic: "/t", Event: &anypb.Any{TypeUrl: "u", Value: []byte("v")}},
			&Event{}, &Event{Namespace: "n", Topic: "/t", Event: Any{"u", []byte("v")}},
		},
		{&introspectionapi.ServerResponse{UUID: "u", Pid: 1}, &byID{}, &byID{"u"}},
		{&namespacesapi.Namespace{Name: "n", Labels: labels}, &byID{}, &byID{"n"}},
		{
			&types.Mount{Type: "overlay", Source: "s", Target: "t", Options: []string{"a", "b"}},
			&Mount{}, &Mount{"overlay", "s", "t", []string{"a", "b"}},
		},
	} {
		data, err := proto.Marshal(test.theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := (wire{}).Unmarshal(data, test.ours); err != nil || !reflect.DeepEqual(test.ours, test.want) {
			t.Errorf("%T is read as %+v, %v, want %+v", test.theirs, test.ours, err, test.want)
		}
	}
}

// The states are containerd's numbers.
func TestStates(t *testing.T) {
	for ours, theirs := range map[int]task.Status{
		TaskCreated: task.Status_CREATED, TaskRunning: task.Status_RUNNING, TaskStopped: task.Status_STOPPED,
		TaskPaused: task.Status_PAUSED, TaskPausing: task.Status_PAUSING,
	} {
		if ours != int(theirs) {
			t.Errorf("%v is %d, want %d", theirs, ours, theirs)
		}
	}
}

// Our messages are what containerd reads.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		ours         any
		theirs, want proto.Message
	}{
		{&byID{"id"}, &tasksapi.GetRequest{}, &tasksapi.GetRequest{ContainerID: "id"}},
		{&byID{"id"}, &contentapi.ReadContentRequest{}, &contentapi.ReadContentRequest{Digest: "id"}},
		{&byID{"id"}, &imagesapi.DeleteImageRequest{}, &imagesapi.DeleteImageRequest{Name: "id"}},
		{&snapshot{"s", "k"}, &snapshotsapi.MountsRequest{}, &snapshotsapi.MountsRequest{Snapshotter: "s", Key: "k"}},
		{
			&TaskRequest{ID: "id", Rootfs: []Mount{{"bind", "s", "", []string{"rw"}}, {Type: "x"}}, Stdout: "o", Stderr: "e", Terminal: true},
			&tasksapi.CreateTaskRequest{},
			&tasksapi.CreateTaskRequest{ContainerID: "id", Rootfs: []*types.Mount{{Type: "bind", Source: "s", Options: []string{"rw"}}, {Type: "x"}}, Stdout: "o", Stderr: "e", Terminal: true},
		},
		{
			newLabelUpdate("c", "k", "v"), &containersapi.UpdateContainerRequest{},
			&containersapi.UpdateContainerRequest{
				Container:  &containersapi.Container{ID: "c", Labels: map[string]string{"k": "v"}},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels.k"}},
			},
		},
	} {
		data, err := wire{}.Marshal(test.ours)
		if err == nil {
			err = proto.Unmarshal(data, test.theirs)
		}
		if err != nil || !proto.Equal(test.theirs, test.want) {
			t.Errorf("%T is read as %v, %v, want %v", test.ours, test.theirs, err, test.want)
		}
	}
}

// Whatever comes, nothing panics.
func FuzzAnswer(f *testing.F) {
	data, _ := wire{}.Marshal(&TaskRequest{ID: "id", Rootfs: []Mount{{Type: "x"}}})
	f.Add(data)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&oneContainer{}, &Task{}, &Image{}, &Event{}, &TaskRequest{}} {
			_ = wire{}.Unmarshal(data, v)
		}
	})
}

func TestSignals(t *testing.T) {
	for name, want := range map[string]int{"SIGTERM": 15, "quit": 3, "9": 9, "": 15, "nonsense": 15} {
		if got := signalOf(name); got != want {
			t.Errorf("signal %q is %d, want %d", name, got, want)
		}
	}
}
