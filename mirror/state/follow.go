package state

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Follower reads a state file again each time it changes.
type Follower struct {
	// Path is the state file. It need not exist yet; its directory need not either.
	Path string
	// Head reads states as ReadHead does, without the objects.
	Head bool
	// Interval is how often to look where the file can't be watched, or 0 for 500 ms.
	Interval time.Duration
	// Polling is called, if it is not nil, when the file can't be watched and is
	// looked at again and again instead, with the cause: the system's limit of
	// watches is used up, or the directory does not exist (yet).
	Polling func(cause error)
}

// Follow is [Follower.States] with the defaults.
func Follow(ctx context.Context, path string) iter.Seq2[*State, error] {
	return (&Follower{Path: path}).States(ctx)
}

// States yields the state as it is, then again after each change. Changes in quick
// succession may be yielded as one. A file that is missing or can't be read is
// yielded as the error of [Read], once until it changes; following goes on. The
// sequence ends when ctx does.
func (f *Follower) States(ctx context.Context) iter.Seq2[*State, error] {
	return func(yield func(*State, error) bool) {
		changed, stop := f.watch(ctx)
		defer stop()
		read := Read
		if f.Head {
			read = ReadHead
		}
		var last os.FileInfo
		var lastErr string
		var seen *State
		for ctx.Err() == nil {
			// The file is replaced, never written into: while it is the same file,
			// there is nothing new in it. Looked at before it is read, so that a
			// replacement in between is seen as one next time.
			info, err := stat(f.Path)
			if err != nil || last == nil || !sameFile(info, last) {
				last = info
				s, err := read(f.Path)
				switch {
				case err == nil:
					lastErr = ""
					if seen != nil && seen.Revision == s.Revision && seen.WrittenAt.Equal(s.WrittenAt) {
						break // replaced between the look and the read
					}
					seen = s
					if !yield(s, nil) {
						return
					}
				case errorKey(err) != lastErr:
					lastErr, seen = errorKey(err), nil
					if !yield(nil, err) {
						return
					}
				}
			}
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	}
}

// errorKey tells errors apart that are worth telling apart: whether the file or its
// directory is missing is not.
func errorKey(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	return err.Error()
}

func stat(path string) (os.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// sameFile also compares time and size: an inode is used again once it is free.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// watch returns a channel that gets a value after each change of the file, one for
// several where nobody receives.
func (f *Follower) watch(ctx context.Context) (changed <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signal := make(chan struct{}, 1)
	done := make(chan struct{})
	// The watch begins before the first read, so that no change falls in between.
	w, err := f.newWatcher()
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err == nil {
				err = f.notify(ctx, w, signal)
			}
			if ctx.Err() != nil {
				return
			}
			if f.Polling != nil {
				f.Polling(err)
			}
			w, err = f.poll(ctx, err, signal)
		}
	}()
	return signal, func() {
		cancel()
		<-done
	}
}

func (f *Follower) newWatcher() (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	// The directory: a watch of the file itself would end when it is replaced.
	if err := w.Add(filepath.Dir(f.Path)); err != nil {
		_ = w.Close()
		return nil, err
	}
	return w, nil
}

// notify passes on the changes that w reports, until ctx ends or w fails.
func (f *Follower) notify(ctx context.Context, w *fsnotify.Watcher, signal chan<- struct{}) error {
	defer w.Close()
	dir := filepath.Dir(f.Path)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Events:
			switch {
			case !ok:
				return errors.New("the watch has ended")
			case filepath.Base(e.Name) == filepath.Base(f.Path):
				raise(signal)
			case e.Has(fsnotify.Remove|fsnotify.Rename) && filepath.Clean(e.Name) == dir:
				raise(signal)
				return &fs.PathError{Op: "watch", Path: dir, Err: fs.ErrNotExist}
			}
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("the watch has ended")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
			raise(signal) // whatever was lost, one look shows the outcome
		}
	}
}

// poll raises the signal at each interval, until ctx ends or a watch is to be had
// where the directory was missing. A limit of watches that is used up is not tried
// again: that is for the person to mend.
func (f *Follower) poll(ctx context.Context, cause error, signal chan<- struct{}) (*fsnotify.Watcher, error) {
	interval := f.Interval
	if interval <= 0 {
		interval = 500 * time.Millisecond
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		if errors.Is(cause, fs.ErrNotExist) {
			if w, err := f.newWatcher(); err == nil {
				raise(signal)
				return w, nil
			}
		}
		raise(signal)
	}
}

func raise(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
