package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/top"
)

// containerdLog writes and follows the log that nerdctl keeps of a container: a containerd keeps
// none.
func containerdLog(ctx context.Context, i *instance.Instance, id string, w io.Writer) error {
	s, err := state.Read(i.Paths.StateFile())
	if err != nil {
		return err
	}
	path := mirror.NerdctlLog(i.Paths.Data, s.Containers[id])
	if path == "" {
		return errors.New("the container has no log: only nerdctl keeps one")
	}
	return showLog(ctx, &jsonLog{w: w}, path, topTail, true)
}

// A jsonLog writes what is in the lines of a log of JSON.
type jsonLog struct {
	w    io.Writer
	rest []byte // what is no whole line yet
}

func (l *jsonLog) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.rest = rest
		var entry struct {
			Log string `json:"log"`
		}
		if json.Unmarshal(line, &entry) != nil {
			continue
		}
		if _, err := io.WriteString(l.w, entry.Log); err != nil {
			return len(b), err
		}
	}
}

// containerdUsage asks a containerd twice, a second apart, what a container has used.
func containerdUsage(ctx context.Context, i *instance.Instance, id string) (u top.Usage, err error) {
	api, err := containerd.New(i.Socket())
	if err != nil {
		return u, err
	}
	defer api.Close()
	namespace, name := containerd.SplitKey(id)
	first, err := api.Usage(ctx, namespace, name)
	if err != nil {
		return u, err
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return u, ctx.Err()
	}
	second, err := api.Usage(ctx, namespace, name)
	if err != nil {
		return u, err
	}
	return top.Usage{
		CPU:    100 * float64(second.CPU-first.CPU) / float64(second.At.Sub(first.At)),
		Memory: second.Memory,
	}, nil
}
