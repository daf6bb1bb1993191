// Package board follows all instances at once, for whoever shows them live, and does to
// their objects what people ask for there. It reads files alone: no engine notices who
// looks.
package board

import (
	"context"
	"sync"
	"time"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
)

// A View is an instance as it is at one moment.
type View struct {
	Name                 string
	Instance             *instance.Instance // nil if it can't be read, and then Err says why
	Err                  error
	instance.Observation      // with the objects
	Gone                 bool // it is removed, and there is nothing else of it
}

// listInterval is how often the list of instances is looked at. What changes in an instance
// is seen at once.
const listInterval = time.Second

// Follow calls f with each instance as it is, and again after each change of it, until ctx
// ends, whose error it returns, or f returns one. It calls f from one goroutine. Changes in
// quick succession may come as one.
func Follow(ctx context.Context, roots instance.Roots, f func(View) error) error {
	ctx, cancel := context.WithCancel(ctx)
	b := follower{roots: roots, views: make(chan View)}
	defer b.all.Wait()
	defer cancel()
	b.all.Go(func() { b.list(ctx) })
	for {
		select {
		case v := <-b.views:
			if err := f(v); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follower is one call of Follow.
type follower struct {
	roots instance.Roots
	views chan View
	all   sync.WaitGroup
}

func (b *follower) send(ctx context.Context, v View) {
	select {
	case b.views <- v:
	case <-ctx.Done():
	}
}

// list follows which instances there are, and each of them.
func (b *follower) list(ctx context.Context) {
	following := map[string]func(){} // how to stop following each
	tick := time.NewTicker(listInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		// An error to read the list says nothing of the instances.
		if names, err := instance.Names(b.roots); err == nil {
			b.compare(ctx, following, names)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// compare begins and ends to follow, so that it is these instances.
func (b *follower) compare(ctx context.Context, following map[string]func(), names []string) {
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
		if following[name] == nil {
			following[name] = b.begin(ctx, name)
		}
	}
	for name, stop := range following {
		if !there[name] {
			stop()
			delete(following, name)
			b.send(ctx, View{Name: name, Gone: true})
		}
	}
}

// begin follows one instance. Nothing comes of it after stop has returned.
func (b *follower) begin(ctx context.Context, name string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	b.all.Go(func() {
		defer close(ended)
		for ctx.Err() == nil {
			b.instance(ctx, name)
		}
	})
	return func() {
		cancel()
		<-ended
	}
}

// instance follows one instance as long as it is the same.
func (b *follower) instance(ctx context.Context, name string) {
	i, err := instance.Load(b.roots, name)
	if err != nil {
		b.send(ctx, View{Name: name, Err: err})
		select { // it may be mended
		case <-time.After(listInterval):
		case <-ctx.Done():
		}
		return
	}
	round, again := context.WithCancel(ctx)
	defer again()
	_ = client.FollowObjects(round, i, func(o instance.Observation) (bool, error) {
		if o.State != nil && o.State.Instance.UID != i.UID {
			return false, nil // another one of that name
		}
		o.Supervised = o.Live
		b.send(ctx, View{Name: name, Instance: i, Observation: o})
		if !o.Live && !client.Stopped(i) {
			time.AfterFunc(listInterval, again) // nothing reports the end of what has no supervisor
		}
		return true, nil
	})
}
