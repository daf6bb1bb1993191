package containerd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// A Usage is what a container has used until a moment.
type Usage struct {
	CPU    time.Duration
	Memory uint64 // in bytes, without the page cache, which can be reclaimed
	At     time.Time
}

// Usage returns what a running container has used. One without control groups is not found.
func (c *Client) Usage(ctx context.Context, namespace, id string) (u Usage, err error) {
	request := struct {
		Filters []string `pb:"1"`
	}{[]string{"id==" + strconv.Quote(id)}}
	var answer struct {
		Metrics []struct {
			At   time.Time `pb:"1"`
			Data Any       `pb:"3"`
		} `pb:"1"`
	}
	if err := c.call(ctx, namespace, "tasks.v1.Tasks/Metrics", &request, &answer); err != nil {
		return u, err
	}
	for _, m := range answer.Metrics {
		u, err := usageOf(m.Data)
		u.At = m.At
		return u, err
	}
	return u, fmt.Errorf("metrics of container %q: %w", id, errdefs.ErrNotFound)
}

// usageOf reads what the control groups say, of version 1 or 2.
func usageOf(metrics Any) (u Usage, err error) {
	var memory, cache int
	if strings.HasSuffix(metrics.Type, "cgroups.v1.Metrics") {
		var m struct {
			CPU struct {
				Usage struct {
					Nanoseconds int `pb:"1"`
				} `pb:"1"`
			} `pb:"3"`
			Memory struct {
				Cache int `pb:"30"` // total_inactive_file
				Usage struct {
					Bytes int `pb:"2"`
				} `pb:"33"`
			} `pb:"4"`
		}
		err = wire{}.Unmarshal(metrics.Value, &m)
		u.CPU, memory, cache = time.Duration(m.CPU.Usage.Nanoseconds), m.Memory.Usage.Bytes, m.Memory.Cache
	} else {
		var m struct {
			CPU struct {
				Microseconds int `pb:"1"`
			} `pb:"2"`
			Memory struct {
				Cache int `pb:"13"` // inactive_file
				Bytes int `pb:"32"`
			} `pb:"4"`
		}
		err = wire{}.Unmarshal(metrics.Value, &m)
		u.CPU, memory, cache = time.Duration(m.CPU.Microseconds)*time.Microsecond, m.Memory.Bytes, m.Memory.Cache
	}
	u.Memory = uint64(memory - min(cache, memory))
	return u, err
}
