// Package dirwatch waits for changes in directories. Files are not watched themselves: a
// file that is replaced takes its watch along.
package dirwatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// A Watcher watches directories. It is used by one goroutine.
type Watcher struct {
	w    *fsnotify.Watcher
	dirs []string
	lost bool // one of the directories is gone: another of its name is not watched
}

// New watches the directories, which must exist. An error says that the system's limit
// of watches is used up, or that a directory can't be read. The caller closes the
// watcher.
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

// Close ends the watch. A Wait returns [ErrClosed] then.
func (w *Watcher) Close() { _ = w.w.Close() }

// ErrClosed is the error of a Wait for a watcher that is closed.
var ErrClosed = errors.New("the watch has ended")

// Wait returns nil when something has changed since the last Wait, or may have, and the
// context's error when it ends first.
func (w *Watcher) Wait(ctx context.Context) error {
	var e fsnotify.Event
	ok := false
	select {
	case e, ok = <-w.w.Events:
	case _, ok = <-w.w.Errors: // events may be lost: the caller looks for itself
	case <-ctx.Done():
		return ctx.Err()
	}
	for ok { // one look shows it all
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
