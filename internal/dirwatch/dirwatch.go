// Package dirwatch waits for changes in directories. Files are not watched: a watch follows a file
// that is replaced.
package dirwatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// A Watcher watches directories. Only one goroutine may use it.
type Watcher struct {
	w    *fsnotify.Watcher
	dirs []string
	lost bool // one of the directories was removed: a new one of that name is not watched
}

// New watches the directories, which must exist. It fails if the system's watches are used up, or a
// directory can't be read. The caller closes the watcher.
func New(dirs ...string) (*Watcher, error) {
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
	return &Watcher{w: w, dirs: dirs}, nil
}

// NewOf watches those directories that exist by the time that the watch begins: dirs returns them,
// and is called again until they are still the same. For the rest it is as [New].
func NewOf(dirs func() []string) (*Watcher, error) {
	for {
		now := dirs()
		watch, err := New(now...)
		if slices.Equal(now, dirs()) {
			return watch, err
		}
		if err == nil { // else one has gone, which may be why it failed
			watch.Close()
		}
	}
}

// Close ends the watch. Wait then returns [ErrClosed].
func (w *Watcher) Close() { _ = w.w.Close() }

// ErrClosed is the error of Wait for a closed watcher.
var ErrClosed = errors.New("the watch has ended")

// Wait returns nil when something may have changed since the last Wait, or the context's error if
// that ends first.
func (w *Watcher) Wait(ctx context.Context) error {
	var e fsnotify.Event
	ok := false
	select {
	case e, ok = <-w.w.Events:
	case _, ok = <-w.w.Errors: // events may be lost, so something may have changed
	case <-ctx.Done():
		return ctx.Err()
	}
	for ok { // drain: one look covers all
		w.see(e)
		e = fsnotify.Event{}
		select {
		case e, ok = <-w.w.Events:
		case _, ok = <-w.w.Errors:
		default:
			return nil
		}
	}
	return ErrClosed
}

func (w *Watcher) see(e fsnotify.Event) {
	if e.Has(fsnotify.Remove | fsnotify.Rename) {
		w.lost = w.lost || slices.ContainsFunc(w.dirs, func(dir string) bool { return filepath.Clean(e.Name) == filepath.Clean(dir) })
	}
}
