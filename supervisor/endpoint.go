package supervisor

import (
	"path/filepath"
	"reflect"
	"time"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/pause"
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
	meta := endpoint.OpenStore(l.inst.DockerConfig).GetStorageInfo(name).MetadataPath
	dirs := func() []string { return []string{filepath.Clean(meta)} }
	l.watch(l.ctx, "context", dirs, func(send func(event)) (more bool) {
		for range 2 {
			now, err := l.driver.Endpoint()
			if err == nil && !reflect.DeepEqual(now, was) {
				was = now
				send(endpointNew{})
			}
			_ = pause.For(l.ctx, contextSettles)
		}
		return true
	})
}
