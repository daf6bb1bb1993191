package supervisor

import (
	"context"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/requests"
)

const (
	// defaultGrace is how long an engine has to stop its containers before it is killed.
	// dockerd itself gives them 15 s.
	defaultGrace = 45 * time.Second
	// graceMargin is what the engine gets beyond the longest time that a container has.
	graceMargin = 15 * time.Second
	// graceTimeout bounds the asking for these times.
	graceTimeout = 5 * time.Second
)

// containersGrace returns how long the engine needs to stop its containers. Each has a time
// of its own.
func (l *loop) containersGrace(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, graceTimeout)
	defer cancel()
	conn, err := l.connectEngine()
	if err != nil {
		return defaultGrace
	}
	defer conn.Close()
	api, ok := conn.(*mirror.Moby)
	if !ok {
		return defaultGrace // a containerd's containers have no times of their own
	}
	list, err := api.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return defaultGrace
	}
	grace := defaultGrace
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(16)
	for _, c := range list.Items {
		group.Go(func() error {
			found, err := api.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
			if err != nil {
				return nil // it has ended meanwhile
			}
			mu.Lock()
			defer mu.Unlock()
			grace = max(grace, requests.StopTimeout(found.Container.Config)+graceMargin)
			return nil
		})
	}
	_ = group.Wait()
	return grace
}
