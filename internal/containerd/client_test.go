package containerd

import (
	"context"
	"errors"
	"testing"
	"time"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestClassify(t *testing.T) {
	plain := errors.New("no error of gRPC's")
	for _, tc := range []struct {
		err, is error
		says    string
	}{
		{status.Error(codes.NotFound, `container "x" in namespace "y": not found`), errdefs.ErrNotFound, `container "x" in namespace "y": not found`},
		{status.Error(codes.NotFound, "not found"), errdefs.ErrNotFound, "not found"},
		{status.Error(codes.FailedPrecondition, "task must be stopped before deletion: running: failed precondition"), errdefs.ErrFailedPrecondition, "task must be stopped before deletion: running: failed precondition"},
		{status.Error(codes.Unavailable, "no socket"), errdefs.ErrUnavailable, "no socket: unavailable"},
		{status.Error(codes.DeadlineExceeded, "context deadline exceeded"), context.DeadlineExceeded, "context deadline exceeded"},
		{status.Error(codes.Internal, "oops"), errdefs.ErrUnknown, "oops: unknown"},
		{plain, plain, "no error of gRPC's"},
	} {
		if got := classify(tc.err); !errors.Is(got, tc.is) || got.Error() != tc.says {
			t.Errorf("%v: %q, want %q, which is %v", tc.err, got, tc.says, tc.is)
		}
	}
	if err := classify(nil); err != nil {
		t.Errorf("no error: %v", err)
	}
}

// The names of an event are its message's first and second string, whatever the message is.
func TestNames(t *testing.T) {
	exit := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 7)
	for number, text := range map[protowire.Number]string{1: "c", 2: "exec", 4: "other"} {
		exit = protowire.AppendString(protowire.AppendTag(exit, number, protowire.BytesType), text)
	}
	number := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	for _, test := range []struct {
		event         []byte
		first, second string
	}{{exit, "c", "exec"}, {number, "", ""}, {nil, "", ""}, {[]byte{0x0a, 0xff}, "", ""}} {
		first, second := Names(&types.Envelope{Event: &anypb.Any{Value: test.event}})
		if first != test.first || second != test.second {
			t.Errorf("%x names %q and %q, want %q and %q", test.event, first, second, test.first, test.second)
		}
	}
	if first, second := Names(&types.Envelope{}); first != "" || second != "" {
		t.Errorf("no message names %q and %q", first, second)
	}
}

// Both versions of control groups say what a container uses.
func TestUsageOf(t *testing.T) {
	for _, metrics := range []proto.Message{
		&cgroup1.Metrics{CPU: &cgroup1.CPUStat{Usage: &cgroup1.CPUUsage{Total: 5000}}, Memory: &cgroup1.MemoryStat{TotalInactiveFile: 10, Usage: &cgroup1.MemoryEntry{Usage: 30}}},
		&cgroup2.Metrics{CPU: &cgroup2.CPUStat{UsageUsec: 5}, Memory: &cgroup2.MemoryStat{InactiveFile: 10, Usage: 30}},
	} {
		data, err := proto.Marshal(metrics)
		if err != nil {
			t.Fatal(err)
		}
		// As containerd does, without a host before the name.
		got, err := usageOf(&anypb.Any{TypeUrl: string(metrics.ProtoReflect().Descriptor().FullName()), Value: data})
		if want := (Usage{CPU: 5 * time.Microsecond, Memory: 20}); err != nil || got != want {
			t.Errorf("%T says %+v, %v, want %+v", metrics, got, err, want)
		}
	}
	if got, err := usageOf(&anypb.Any{TypeUrl: "what.is.This"}); err == nil {
		t.Errorf("an unknown message says %+v", got)
	}
}
