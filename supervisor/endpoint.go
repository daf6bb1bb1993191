package supervisor

import (
	"context"
	"path/filepath"
	"reflect"
	"time"

	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

const (
	// contextInterval is how often a context that can't be watched is read.
	contextInterval = 30 * time.Second
	// contextSettles is how long docker takes at most to write a context's keys and
	// certificates after its metadata.
	contextSettles = time.Second
)

// followEndpoint follows the user's context that leads to the engine: when it changes, the
// instance follows.
func (l *loop) followEndpoint() {
	name := l.inst.Settings.FromContext
	if name == "" {
		return
	}
	was, _ := l.driver.Endpoint()
	l.stream(func(ctx context.Context, send func(event)) {
		meta := endpoint.OpenStore(l.inst.DockerConfig).GetStorageInfo(name).MetadataPath
		follow := dirwatch.Follow(filepath.Clean(meta), contextInterval, nil)
		defer follow.Close()
		for follow.Wait(ctx) == nil {
			for range 2 {
				now, err := l.driver.Endpoint()
				if err == nil && !reflect.DeepEqual(now, was) {
					was = now
					send(endpointNew{})
				}
				select {
				case <-time.After(contextSettles):
				case <-ctx.Done():
				}
			}
		}
	})
}
