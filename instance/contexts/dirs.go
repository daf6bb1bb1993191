package contexts

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/instance"
)

// realDir resolves the symbolic links in a directory's path, as far as it exists: a configuration
// has one record under all of its names.
func realDir(dir string) string {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		return real
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return dir
	}
	return filepath.Join(realDir(parent), filepath.Base(dir))
}

// UsesConfig reports whether an instance was created under a Docker configuration: false for one
// with its configuration on a file system that hangs.
func UsesConfig(i *instance.Instance, dir string) bool {
	if filepath.Clean(i.DockerConfig) == filepath.Clean(dir) {
		return true
	}
	theirs, ok := Soon("realdir:"+i.DockerConfig, func() string { return realDir(i.DockerConfig) })
	return ok && theirs == realDir(dir)
}

// patience bounds [Soon].
const patience = 500 * time.Millisecond

// hanging has the keys of calls that [Soon] has given up and that have not ended.
var hanging sync.Map

// Soon returns the result of look, if that is soon: look reads files that may be on a file system
// that hangs. While a call hangs, others with its key fail at once.
func Soon[T any](key string, look func() T) (result T, ok bool) {
	if _, hangs := hanging.Load(key); hangs {
		return result, false
	}
	results := make(chan T, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		results <- look()
	}()
	select {
	case result = <-results:
		return result, true
	case <-time.After(patience):
	}
	hanging.Store(key, nil)
	go func() {
		<-ended
		hanging.Delete(key)
	}()
	return result, false
}
