// Package board follows all instances for live views, and acts on their objects. It only reads
// files, which costs the engines nothing.
package board

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/pause"
)

// A Board shows all instances, and acts on their objects.
type Board struct{ Roots instance.Roots }

// A View is an instance at one moment.
type View struct {
	Name                 string
	Instance             *instance.Instance // nil if it can't be read: then Err says why
	Err                  error
	instance.Observation      // with the objects
	Gone                 bool // it was removed; nothing else is set
}

// UpToDate reports whether the view's objects follow the engine.
func (v View) UpToDate() bool { return v.Live && v.State != nil && v.State.Mirror.Connected }

// Status sums up the instance in a word, see [client.Status].
func (v View) Status() string {
	if v.Err != nil {
		return client.StatusUnusable
	}
	return client.Status(v.Observation, v.Instance)
}

// listInterval is how often the list of instances is read. Changes of an instance are seen at
// once.
const listInterval = time.Second

// Follow calls f with each instance, now and after each change, until ctx ends or f returns an
// error, and returns that. It calls f from its own goroutine. Quick changes may come as one.
func (b Board) Follow(ctx context.Context, f func(View) error) error {
	ctx, cancel := context.WithCancel(ctx)
	all := follower{roots: b.Roots, views: make(chan View)}
	defer all.running.Wait()
	defer cancel()
	all.running.Go(func() { all.list(ctx) })
	for {
		select {
		case v := <-all.views:
			if err := f(v); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type follower struct {
	roots   instance.Roots
	views   chan View
	running sync.WaitGroup
}

func (f *follower) send(ctx context.Context, v View) {
	select {
	case f.views <- v:
	case <-ctx.Done():
	}
}

// list follows the list of instances, and each instance.
func (f *follower) list(ctx context.Context) {
	following := map[string]func(){} // functions that stop following an instance
	for ctx.Err() == nil {
		// If the list can't be read, the instances go on.
		if names, err := instance.Names(f.roots); err == nil {
			f.compare(ctx, following, names)
		}
		_ = pause.For(ctx, listInterval)
	}
}

// compare begins and stops following so that exactly the named instances are followed.
func (f *follower) compare(ctx context.Context, following map[string]func(), names []string) {
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		if following[name] == nil {
			following[name] = f.begin(ctx, name)
		}
	}
	for name, stop := range following {
		if !there[name] {
			stop()
			delete(following, name)
			f.send(ctx, View{Name: name, Gone: true})
		}
	}
}

// begin follows one instance. It sends nothing after stop has returned.
func (f *follower) begin(ctx context.Context, name string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	f.running.Go(func() {
		defer close(ended)
		for ctx.Err() == nil {
			f.instance(ctx, name)
		}
	})
	return func() {
		cancel()
		<-ended
	}
}

// instance follows one instance until another takes its name.
func (f *follower) instance(ctx context.Context, name string) {
	i, err := instance.Load(f.roots, name)
	if err != nil {
		if !errors.Is(err, instance.ErrNotExist) { // the list says that, too
			f.send(ctx, View{Name: name, Err: err})
		}
		_ = pause.For(ctx, listInterval) // it may be repaired
		return
	}
	round, again := context.WithCancel(ctx)
	defer again()
	_ = client.FollowObjects(round, i, func(o instance.Observation) (bool, error) {
		if o.State != nil && o.State.Instance.UID != i.UID {
			return false, nil // another instance of that name
		}
		o.Supervised = o.Live
		f.send(ctx, View{Name: name, Instance: i, Observation: o})
		if !o.Live && !client.Stopped(i) {
			time.AfterFunc(listInterval, again) // nothing reports the end of an engine without a supervisor
		}
		return true, nil
	})
}
