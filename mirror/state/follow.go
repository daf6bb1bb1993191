package state

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/dirwatch"
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
		interval := f.Interval
		if interval <= 0 {
			interval = 500 * time.Millisecond
		}
		// The watch begins before the first read, so that no change falls in between. It is
		// of the directory: one of the file would end when the file is replaced.
		w := dirwatch.Follow(filepath.Dir(f.Path), interval, f.Polling)
		defer w.Close()
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
			if w.Wait(ctx) != nil {
				return
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
