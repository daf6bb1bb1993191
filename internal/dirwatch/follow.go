package dirwatch

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// A Follower waits for changes in one directory, come what may: where the directory is
// missing, or the system's limit of watches is used up, it looks at intervals instead. It
// is used by one goroutine.
type Follower struct {
	dir      string
	interval time.Duration
	polling  func(cause error)
	watch    *Watcher
	err      error // why there is no watch
}

// Follow begins to follow a directory, which need not exist. Whenever it can't be watched
// (any more), polling is called, if it is not nil, with the cause, and the follower looks
// at each interval. The caller closes the follower.
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

// Wait returns nil when something may have changed since the last Wait, and the context's
// error when it ends first.
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

// poll waits for an interval. A directory that was missing may be there then; a limit that
// is used up is for a person to raise.
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
