package commands

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/containerd"
	"github.com/docker-rd/docker-rd/internal/logfile"
	"github.com/docker-rd/docker-rd/internal/pause"
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
	lines := &logfile.LineWriter{Line: func(line []byte) error {
		var entry struct {
			Log string `json:"log"`
		}
		if json.Unmarshal(line, &entry) != nil {
			return nil
		}
		_, err := io.WriteString(w, entry.Log)
		return err
	}}
	return showLog(ctx, lines, path, topTail, true)
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
	if err := pause.For(ctx, time.Second); err != nil {
		return u, err
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
