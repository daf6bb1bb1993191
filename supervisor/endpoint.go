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
	// contextInterval is how often a context is looked at that can't be watched.
	contextInterval = 30 * time.Second
	// contextSettles is how long docker takes at most from a context's metadata to its keys
	// and certificates, which it writes later.
	contextSettles = time.Second
)

// followEndpoint follows a context of the user's that leads to the engine: where it leads
// elsewhere from now on, so does the instance.
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
					send(endpointNew{now.Host})
				}
				select {
				case <-time.After(contextSettles):
				case <-ctx.Done():
				}
			}
		}
	})
}
