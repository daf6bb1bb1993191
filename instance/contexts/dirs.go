package contexts

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/instance"
)

// realDir returns what a directory is called without symbolic links, as far as it
// exists: what is known of a Docker configuration counts under all of its names.
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

// UsesConfig reports whether an instance was created under a Docker configuration. An
// instance whose own configuration is on a file system that hangs was not.
func UsesConfig(i *instance.Instance, dir string) bool {
	if filepath.Clean(i.DockerConfig) == filepath.Clean(dir) {
		return true
	}
	theirs, ok := Soon("realdir:"+i.DockerConfig, func() string { return realDir(i.DockerConfig) })
	return ok && theirs == realDir(dir)
}

// patience is how long Soon waits.
const patience = 500 * time.Millisecond

// hanging are the calls of Soon that were given up and have not ended yet.
var hanging sync.Map

// Soon returns what look returns, if that is soon: look reads files that may be on a file
// system that hangs, on which nothing else may depend. What hangs, known by its key, is not
// asked again before it has come back.
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
