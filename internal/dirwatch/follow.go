package dirwatch

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// A Follower waits for changes in one directory. If the directory is missing, or the system's
// watches are used up, it polls instead. Only one goroutine may use it.
type Follower struct {
	dir      string
	interval time.Duration
	polling  func(cause error)
	watch    *Watcher
	err      error // why there is no watch
}

// Follow begins to follow a directory, which need not exist. When it can't be watched, the follower
// polls at the interval, and calls polling, unless that is nil, with the cause. The caller closes
// the follower.
func Follow(dir string, interval time.Duration, polling func(cause error)) *Follower {
	f := &Follower{dir: dir, interval: interval, polling: polling}
	f.begin()
	return f
}

// begin begins to watch, if it can.
func (f *Follower) begin() {
	before := f.err
	f.watch, f.err = New(f.dir)
	if f.err != nil && before == nil && f.polling != nil {
		f.polling(f.err)
	}
}

// Close ends the watch.
func (f *Follower) Close() {
	if f.watch != nil {
		f.watch.Close()
	}
}

// Wait returns nil when something may have changed since the last Wait, or the context's error if
// that ends first.
func (f *Follower) Wait(ctx context.Context) error {
	if f.watch == nil {
		return f.poll(ctx)
	}
	err := f.watch.Wait(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || f.watch.lost {
		f.watch.Close()
		f.begin()
	}
	return nil
}

// poll waits for an interval. A missing directory may exist then; a limit of watches does not
// change by itself.
func (f *Follower) poll(ctx context.Context) error {
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if errors.Is(f.err, fs.ErrNotExist) {
		f.begin()
	}
	return nil
}
