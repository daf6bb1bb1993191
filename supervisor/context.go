package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// contextTimeout bounds what is done to the Docker configuration: a probe of the
// context before ours, and waiting for the promotion lock.
const contextTimeout = 10 * time.Second

// contextRun is the instance's Docker context as the loop sees it.
type contextRun struct {
	judgement *dockercontext.Judgement // of the current context; nil while it is probed
	making    bool                     // it is being made
	made      bool                     // it is there and ours
	promoting bool
}

// Owner returns the instance as the owner of its context; the zero Owner where it has
// none of its own.
func Owner(i *engine.Instance) dockercontext.Owner {
	if !i.OwnsContext() {
		return dockercontext.Owner{}
	}
	return dockercontext.Owner{UID: i.UID, Context: i.Context()}
}

// Description describes the instance's context in docker's list.
func Description(i *engine.Instance) string { return "docker rd instance " + i.Name }

// DockerConfig returns the Docker configuration that the instance was created under,
// as a process without Docker's variables sees it.
func DockerConfig(i *engine.Instance) (*dockercontext.Config, error) {
	roots, err := engine.DefaultRoots()
	if err != nil {
		return nil, err
	}
	return dockercontext.Open(ConfigOptions(roots, i.DockerConfig)), nil
}

// ConfigOptions returns the options for a Docker configuration directory, with the
// places where docker rd keeps what it remembers of it.
func ConfigOptions(roots engine.Roots, dir string) dockercontext.Options {
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
func UsesConfig(i *engine.Instance, dir string) bool { return realDir(i.DockerConfig) == realDir(dir) }

// owns tells whether the owner is an instance, as far as it can be told.
func owns(roots engine.Roots, owner dockercontext.Owner) bool {
	name, err := instanceOf(roots, owner.Context)
	if err != nil {
		return !errors.Is(err, engine.ErrNotExist)
	}
	i, err := engine.Load(roots, name)
	return err != nil || Owner(i) == owner
}

// instanceOf returns the name of the instance that has a context of that name. The error
// matches [engine.ErrNotExist] if there is none.
func instanceOf(roots engine.Roots, context string) (string, error) {
	names, err := engine.Names(roots)
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(names, func(name string) bool { return engine.ContextName(name) == context })
	if n < 0 {
		return "", engine.ErrNotExist
	}
	return names[n], nil
}

// beginContext says what becomes of the context, and judges the current one.
func (l *loop) beginContext() {
	if !l.inst.OwnsContext() {
		l.set(state.ContextReady, state.True, state.ReasonNotApplicable, "the context is the user's own")
		l.set(state.ContextPromoted, state.False, state.ReasonNotApplicable, "the context is the user's own")
		return
	}
	l.set(state.ContextReady, state.Unknown, state.ReasonStarting, "the context is made when the engine answers")
	l.judgeCurrent()
}

// judgeCurrent probes the current context, unless nothing depends on it.
func (l *loop) judgeCurrent() {
	owner, policy := Owner(l.inst), dockercontext.Policy(l.inst.Settings.Promote)
	if owner.Context == "" {
		return
	}
	l.set(state.ContextPromoted, state.Unknown, state.ReasonProbing, "the current context is being probed")
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, dockercontext.DefaultTimeout)
		defer cancel()
		j := l.docker.Judge(ctx, owner, policy)
		return func() {
			l.context.judgement = &j
			l.promote()
		}
	})
}

// makeContext makes the instance's context, once the engine answers. Later it is left
// as it is: if the user removed it, it stays removed until the next start.
func (l *loop) makeContext() {
	owner := Owner(l.inst)
	if c, _ := l.store.Condition(state.ContextReady); owner.Context == "" || l.context.making || c.Status != state.Unknown {
		return
	}
	ep, err := l.driver.Endpoint()
	if err != nil {
		l.set(state.ContextReady, state.False, state.ReasonFailed, err.Error())
		l.promote()
		return
	}
	l.context.making = true
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contextTimeout)
		defer cancel()
		out := l.docker.Create(ctx, owner, ep, Description(l.inst))
		return func() {
			l.context.making = false
			if l.stopping != nil {
				l.stopped() // which waited for it: a context must not come after its end
				return
			}
			l.set(state.ContextReady, state.Status(dockercontext.ReadyStatus(out.Reason)), out.Reason, out.Message)
			l.context.made = out.Reason == dockercontext.ReasonCreated
			l.promote()
			l.watchContext()
		}
	})
}

// watchContext follows what becomes of the context and of the current one. Where the
// system's watches are used up, that is seen at the next start.
func (l *loop) watchContext() {
	dir := l.docker.Dir()
	watch, err := dirwatch.New(dir, filepath.Join(dir, "contexts", "meta"))
	if err != nil {
		l.log.Warn("context is not watched", "part", "context", "error", err)
		return
	}
	context.AfterFunc(l.ctx, watch.Close)
	l.awaitContext(watch)
}

func (l *loop) awaitContext(watch *dirwatch.Watcher) {
	l.beside(l.ctx, func(ctx context.Context) func() {
		if err := watch.Wait(ctx); err != nil {
			return func() {}
		}
		// A choice of the user's voids the record, so that it is his even when he comes
		// back to ours; and what he removed while it was current must not dangle.
		mended := l.docker.Mend(ctx, func(dockercontext.Owner) bool { return false }, Candidates(l.inst))
		ready, promoted := l.docker.Ready(Owner(l.inst)), l.docker.Promoted(Owner(l.inst))
		return func() {
			if mended.Err != nil {
				l.log.Warn("current context not looked after", "part", "context", "error", mended.Err)
			}
			if l.stopping != nil {
				return
			}
			l.contextSeen(ready, promoted)
			l.awaitContext(watch)
		}
	})
}

// contextSeen takes in what somebody else may have made of the context.
func (l *loop) contextSeen(ready, promoted dockercontext.Outcome) {
	was, _ := l.store.Condition(state.ContextReady)
	if was.Reason == state.ReasonCreated || was.Reason == state.ReasonRemoved {
		if ready.Reason != was.Reason {
			l.set(state.ContextReady, state.Status(dockercontext.ReadyStatus(ready.Reason)), ready.Reason, ready.Message)
		}
	}
	was, _ = l.store.Condition(state.ContextPromoted)
	status := state.Status(dockercontext.PromotedStatus(promoted.Reason))
	if l.context.promoting || was.Status == state.Unknown || status == was.Status || promoted.Err != nil {
		return
	}
	if was.Reason == state.ReasonAlreadyCurrent {
		promoted.Reason = state.ReasonChangedByUser // a choice that was not ours is not ours to end
	}
	l.setPromoted(promoted)
}

// promote makes the context current, if that is asked for and as soon as all that it
// depends on is known: the engine answers, the context is there, the current one is
// judged.
func (l *loop) promote() {
	c := &l.context
	ready, _ := l.store.Condition(state.ContextReady)
	was, _ := l.store.Condition(state.ContextPromoted)
	if !l.usable.Load() || c.judgement == nil || c.promoting || was.Status != state.Unknown || ready.Status == state.Unknown {
		return
	}
	if !c.made {
		l.set(state.ContextPromoted, state.False, state.ReasonNotApplicable, "there is no context to make current")
		return
	}
	c.promoting = true
	judgement := *c.judgement
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contextTimeout)
		defer cancel()
		out := l.docker.Promote(ctx, judgement, Owner(l.inst), dockercontext.PromoteOptions{
			Policy:   dockercontext.Policy(l.inst.Settings.Promote),
			Instance: l.inst.Name,
			StillUp:  l.usable.Load,
		})
		if out.Reason == dockercontext.ReasonAlreadyCurrent {
			// By our doing, if that was before a restart.
			if now := l.docker.Promoted(Owner(l.inst)); now.Reason == dockercontext.ReasonPromoted {
				out = now
			}
		}
		return func() {
			c.promoting = false
			if l.stopping == nil { // otherwise the hand-back has the last word
				l.setPromoted(out)
			}
		}
	})
}

func (l *loop) setPromoted(out dockercontext.Outcome) {
	l.set(state.ContextPromoted, state.Status(dockercontext.PromotedStatus(out.Reason)), out.Reason, out.Message)
}

// handBack gives the current context back, if it is ours by our doing. When told to
// stop, the context is removed afterwards. Promotions that are under way look at
// usable under the same lock, so that none comes after it.
func (l *loop) handBack(then func()) {
	owner := Owner(l.inst)
	if owner.Context == "" {
		then()
		return
	}
	l.beside(l.ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, contextTimeout)
		defer cancel()
		out := l.docker.Demote(ctx, owner, Candidates(l.inst))
		return func() {
			if out.Err != nil {
				l.log.Error("current context not handed back", "part", "context", "error", out.Err)
			}
			l.setPromoted(out)
			then()
		}
	})
}

// Candidates returns a function that finds the other instances that can take over the
// current context of the same Docker configuration.
func Candidates(i *engine.Instance) func() []dockercontext.Owner {
	return func() []dockercontext.Owner {
		return slices.DeleteFunc(Successors(i.DockerConfig), func(o dockercontext.Owner) bool { return o == Owner(i) })
	}
}

// Successors returns the owners of contexts that can take over the current context of a
// Docker configuration: their engines answer, and they are not never to be current.
func Successors(dockerConfig string) []dockercontext.Owner {
	roots, err := engine.DefaultRoots()
	if err != nil {
		return nil
	}
	var owners []dockercontext.Owner
	names, _ := engine.Names(roots)
	for _, name := range names {
		i, err := engine.Load(roots, name)
		if err != nil || !UsesConfig(i, dockerConfig) || !i.OwnsContext() || i.Settings.Promote == engine.PromoteNever {
			continue
		}
		if Observe(i).Condition(state.EngineReady).Status == state.True {
			owners = append(owners, Owner(i))
		}
	}
	return owners
}

// Gone tells whether the owner's engine is down and nobody is going to start it again.
func Gone(roots engine.Roots, owner dockercontext.Owner) bool {
	name, err := instanceOf(roots, owner.Context)
	if err != nil {
		return errors.Is(err, engine.ErrNotExist)
	}
	i, err := engine.Salvage(engine.Load(roots, name))
	if err != nil || i.UID != owner.UID {
		// Damaged, of another machine: it can't be told. Of another uid: made anew, so the
		// owner is no more.
		return err == nil
	}
	o := Observe(i)
	if o.Supervised {
		return o.Live && o.Condition(state.EngineReady).Reason == state.ReasonCrashLoop
	}
	driver, err := engine.DriverFor(i, nil)
	return err == nil && !driver.Alive()
}
