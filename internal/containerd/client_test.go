package containerd

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
