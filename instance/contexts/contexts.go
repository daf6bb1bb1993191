// Package contexts joins instances and Docker contexts: package dockercontext knows owners
// of contexts, and package instance named engines.
package contexts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Timeout bounds what is done to the Docker configuration: a probe of the context before
// ours, and waiting for the promotion lock.
const Timeout = 10 * time.Second

// Owner returns the instance as the owner of its context; the zero Owner where it has
// none of its own.
func Owner(i *instance.Instance) dockercontext.Owner {
	if !i.OwnsContext() {
		return dockercontext.Owner{}
	}
	return dockercontext.Owner{UID: i.UID, Context: i.Context()}
}

// Description describes the instance's context in docker's list.
func Description(i *instance.Instance) string { return "docker rd instance " + i.Name }

// Config returns the Docker configuration that the instance was created under,
// as a process without Docker's variables sees it.
func Config(i *instance.Instance) (*dockercontext.Config, error) {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return dockercontext.Open(Options(roots, i.DockerConfig)), nil
}

// Options returns the options for a Docker configuration directory, with the
// places where docker rd keeps what it remembers of it.
func Options(roots instance.Roots, dir string) dockercontext.Options {
	sum := sha256.Sum256([]byte(realDir(dir)))
	base := filepath.Join(roots.PromotionDir(), hex.EncodeToString(sum[:8]))
	return dockercontext.Options{
		Dir:        dir,
		LockFile:   base + ".lock",
		RecordFile: base + ".json",
		Owns:       func(o dockercontext.Owner) bool { return owns(roots, o) },
	}
}

// realDir returns what a directory is called without symbolic links, as far as it
// exists: what one is told of a Docker configuration counts under all of its names.
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

// UsesConfig tells whether an instance was created under a Docker configuration.
func UsesConfig(i *instance.Instance, dir string) bool {
	return realDir(i.DockerConfig) == realDir(dir)
}

// owns tells whether the owner is an instance. One whose settings can't be read counts.
func owns(roots instance.Roots, owner dockercontext.Owner) bool {
	name, err := instanceOf(roots, owner.Context)
	if err != nil {
		return !errors.Is(err, instance.ErrNotExist)
	}
	i, err := instance.Load(roots, name)
	return err != nil || Owner(i) == owner
}

// instanceOf returns the name of the instance that has a context of that name. The error
// matches [instance.ErrNotExist] if there is none.
func instanceOf(roots instance.Roots, context string) (string, error) {
	names, err := instance.Names(roots)
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(names, func(name string) bool { return instance.ContextName(name) == context })
	if n < 0 {
		return "", instance.ErrNotExist
	}
	return names[n], nil
}

// Candidates returns a function that finds the other instances that can take over the
// current context of the same Docker configuration.
func Candidates(i *instance.Instance) func() []dockercontext.Owner {
	return func() []dockercontext.Owner {
		return slices.DeleteFunc(Successors(i.DockerConfig), func(o dockercontext.Owner) bool { return o == Owner(i) })
	}
}

// Successors returns the owners of contexts that can become the current one of a Docker
// configuration: those of instances whose engines answer and whose policy is not never.
func Successors(dockerConfig string) []dockercontext.Owner {
	roots, err := instance.DefaultRoots()
	if err != nil {
		return nil
	}
	var owners []dockercontext.Owner
	names, _ := instance.Names(roots)
	for _, name := range names {
		i, err := instance.Load(roots, name)
		if err != nil || !UsesConfig(i, dockerConfig) || !i.OwnsContext() || i.Settings.Promote == instance.PromoteNever {
			continue
		}
		if instance.Observe(i).Condition(state.EngineReady).Status == state.True {
			owners = append(owners, Owner(i))
		}
	}
	return owners
}

// Gone tells whether the owner's engine is down and nobody is going to start it again.
func Gone(roots instance.Roots, owner dockercontext.Owner) bool {
	name, err := instanceOf(roots, owner.Context)
	if err != nil {
		return errors.Is(err, instance.ErrNotExist)
	}
	i, err := instance.Salvage(instance.Load(roots, name))
	if err != nil || i.UID != owner.UID {
		// Of an instance that is damaged, or another machine's, it can't be told. One with
		// another uid was made anew: the owner does not exist any more.
		return err == nil
	}
	o := instance.Observe(i)
	if o.Supervised {
		return o.Live && o.Condition(state.EngineReady).Reason == state.ReasonCrashLoop
	}
	driver, err := engine.DriverFor(i, nil)
	return err == nil && !driver.Alive()
}
