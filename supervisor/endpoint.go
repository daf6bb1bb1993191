package supervisor

import (
	"context"
	"path/filepath"
	"reflect"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// contextSettles is how long docker takes at most to write a context's keys and certificates after
// its metadata.
const contextSettles = time.Second

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
		follow := l.follow("context", func() []string { return []string{filepath.Clean(meta)} })
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
