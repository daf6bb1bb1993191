// Package dirwatch waits for changes in directories. Files are not watched: a watch follows a file
// that is replaced.
package dirwatch

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Follower waits for changes in directories. While one is missing, or the system's watches are used
// up, it polls instead. Only one goroutine may use it.
type Follower struct {
	dirs     func() []string
	interval time.Duration
	polling  func(cause error)
	watch    *fsnotify.Watcher // nil while it polls
	watched  []string
	err      error // why it polls
}

// Follow begins to follow a directory, which need not exist. When it can't be watched, the follower
// polls at the interval, and calls polling, unless that is nil, with the cause. The caller closes
// the follower.
func Follow(dir string, interval time.Duration, polling func(cause error)) *Follower {
	return FollowAll(func() []string { return []string{dir} }, interval, polling)
}

// FollowAll is [Follow] for the directories that dirs returns, which is called again after each
// change: a directory that comes before the watch has begun, or ends before, is not missed.
func FollowAll(dirs func() []string, interval time.Duration, polling func(cause error)) *Follower {
	f := &Follower{dirs: dirs, interval: interval, polling: polling}
	f.begin()
	return f
}

// begin begins to watch, if it can.
func (f *Follower) begin() {
	before := f.err
	for again := true; again; again = !slices.Equal(f.watched, f.dirs()) {
		f.Close()
		f.watched = f.dirs()
		f.watch, f.err = watch(f.watched)
	}
	if f.err != nil && before == nil && f.polling != nil {
		f.polling(f.err)
	}
}

func watch(dirs []string) (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil {
			_ = w.Close()
			return nil, fmt.Errorf("watch %q: %w", dir, err)
		}
	}
	return w, nil
}

// Close ends the watch.
func (f *Follower) Close() {
	if f.watch != nil {
		_ = f.watch.Close()
	}
}

// Wait returns nil when something may have changed since the last Wait, or the context's error if
// that ends first.
func (f *Follower) Wait(ctx context.Context) error {
	if f.watch == nil {
		timer := time.NewTimer(f.interval)
		defer timer.Stop()
		select {
		case <-timer.C:
			f.begin() // a missing directory may exist by now, or there may be watches again
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var e fsnotify.Event
	ok := true
	select {
	case e, ok = <-f.watch.Events:
	case _, ok = <-f.watch.Errors: // events may be lost, so something may have changed
	case <-ctx.Done():
		return ctx.Err()
	}
	if !ok || !f.drain(e) || !slices.Equal(f.watched, f.dirs()) {
		f.begin()
	}
	return nil
}

// drain takes all pending events: one look covers them. It reports whether the watch goes
// on.
func (f *Follower) drain(e fsnotify.Event) (ok bool) {
	lost := false // a directory that was removed: a new one of its name is not watched
	for ok = true; ok; {
		if e.Has(fsnotify.Remove | fsnotify.Rename) {
			lost = lost || slices.ContainsFunc(f.watched, func(dir string) bool { return filepath.Clean(e.Name) == filepath.Clean(dir) })
		}
		e = fsnotify.Event{}
		select {
		case e, ok = <-f.watch.Events:
		case _, ok = <-f.watch.Errors:
		default:
			return !lost
		}
	}
	return false
}
