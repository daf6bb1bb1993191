package containerd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	cgroup1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	cgroup2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/types/known/anypb"
)

// A Usage is what a container has used until a moment.
type Usage struct {
	CPU    time.Duration
	Memory uint64 // in bytes, without the page cache, which can be reclaimed
	At     time.Time
}

// Usage returns what a running container has used. One without control groups is not found.
func (c *Client) Usage(ctx context.Context, namespace, id string) (u Usage, err error) {
	answer, err := c.tasks().Metrics(in(ctx, namespace), &tasksapi.MetricsRequest{Filters: []string{"id==" + strconv.Quote(id)}})
	if err != nil {
		return u, err
	}
	for _, m := range answer.Metrics {
		u, err := usageOf(m.Data)
		u.At = m.Timestamp.AsTime()
		return u, err
	}
	return u, fmt.Errorf("metrics of container %q: %w", id, errdefs.ErrNotFound)
}

// usageOf reads what the control groups say, of version 1 or 2.
func usageOf(metrics *anypb.Any) (u Usage, err error) {
	message, err := metrics.UnmarshalNew()
	if err != nil {
		return u, err
	}
	var cache uint64
	switch m := message.(type) {
	case *cgroup1.Metrics:
		u.CPU = time.Duration(m.GetCPU().GetUsage().GetTotal())
		u.Memory, cache = m.GetMemory().GetUsage().GetUsage(), m.GetMemory().GetTotalInactiveFile()
	case *cgroup2.Metrics:
		u.CPU = time.Duration(m.GetCPU().GetUsageUsec()) * time.Microsecond
		u.Memory, cache = m.GetMemory().GetUsage(), m.GetMemory().GetInactiveFile()
	}
	u.Memory -= min(cache, u.Memory)
	return u, nil
}
