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

// pollInterval is how often a file is looked at that can't be watched: the system's limit of watches is
// used up, or the directory does not exist (yet).
const pollInterval = 500 * time.Millisecond

// Follow yields the state, and again after each change. Quick changes may be yielded as one. The file
// need not exist yet, nor its directory. If it is missing or can't be read, Follow yields the error of
// [Read], once until that changes, and goes on. The sequence ends with ctx.
func Follow(ctx context.Context, path string) iter.Seq2[*State, error] {
	return follow(ctx, path, Read)
}

// FollowHead is [Follow] with states as of [ReadHead].
func FollowHead(ctx context.Context, path string) iter.Seq2[*State, error] {
	return follow(ctx, path, ReadHead)
}

func follow(ctx context.Context, path string, read func(string) (*State, error)) iter.Seq2[*State, error] {
	return func(yield func(*State, error) bool) {
		// The watch begins before the first read, so that no change is missed. It is on the
		// directory: one on the file would end when the file is replaced. And on the parent, which
		// says that the directory is removed: that itself does not, while a file in it is open.
		dir := filepath.Dir(path)
		w := dirwatch.FollowAll(func() []string { return []string{dir, filepath.Dir(dir)} }, pollInterval, nil)
		defer w.Close()
		r := reader{path: path, read: read}
		for ctx.Err() == nil {
			if s, err := r.next(); (s != nil || err != nil) && !yield(s, err) {
				return
			}
			if w.Wait(ctx) != nil {
				return
			}
		}
	}
}

// A reader reads a state file again if it has changed.
type reader struct {
	path string
	read func(path string) (*State, error)
	file os.FileInfo // that was read last; nil for none
	last *State      // nil after an error
	err  string      // the key of the last error; "" after a state
}

// next returns the state or the error, if it is another one than before; else neither.
func (r *reader) next() (*State, error) {
	// The file is replaced, never written into: the same file has the same content. The look
	// comes before the read, so that a replacement in between shows next time.
	info, err := os.Lstat(r.path)
	if err == nil && r.file != nil && sameFile(info, r.file) {
		return nil, nil
	}
	r.file = info
	s, err := r.read(r.path)
	if err != nil {
		if errorKey(err) == r.err {
			return nil, nil
		}
		r.last, r.err = nil, errorKey(err)
		return nil, err
	}
	r.err = ""
	if r.last != nil && r.last.Revision == s.Revision && r.last.WrittenAt.Equal(s.WrittenAt) {
		return nil, nil // replaced between the look and the read
	}
	r.last = s
	return s, nil
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
