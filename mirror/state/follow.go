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
	// Interval is the polling interval if the file can't be watched, or 0 for 500 ms.
	Interval time.Duration
	// Polling, if not nil, is called when the file can't be watched and is polled instead, with
	// the cause: the system's limit of watches is used up, or the directory does not exist (yet).
	Polling func(cause error)
}

// Follow is [Follower.States] with the defaults.
func Follow(ctx context.Context, path string) iter.Seq2[*State, error] {
	return (&Follower{Path: path}).States(ctx)
}

// States yields the state, and again after each change. Quick changes may be yielded as one. If
// the file is missing or can't be read, it yields the error of [Read], once until that changes,
// and goes on. The sequence ends with ctx.
func (f *Follower) States(ctx context.Context) iter.Seq2[*State, error] {
	return func(yield func(*State, error) bool) {
		interval := f.Interval
		if interval <= 0 {
			interval = 500 * time.Millisecond
		}
		// The watch begins before the first read, so that no change is missed. It is on the
		// directory: one on the file would end when the file is replaced.
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
			// The file is replaced, never written into: the same file has the same content.
			// The look comes before the read, so that a replacement in between shows next time.
			info, err := os.Lstat(f.Path)
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

// errorKey is the same for errors that need not be distinguished: that the file is missing, or its
// directory.
func errorKey(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	return err.Error()
}

// sameFile also compares time and size: free inodes are reused.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
