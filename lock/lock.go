// Package lock provides locks between processes on files of their own.
//
// A lock file is made once and never replaced: after a rename, the next process would lock
// another inode. Only its holder may delete it, together with everything that it protects. A
// holder that keeps it for longer than a moment describes itself in the file. The kernel
// releases a lock when its process ends, so there are no stale locks.
//
// Locks are not inherited (close-on-exec), and exclude each other within one process, too. Over
// NFS they are as good as the server's flock(2).
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
)

// retryDelay is how often a blocked Acquire tries again.
const retryDelay = 10 * time.Millisecond

// ErrHeld is what a [HeldError] matches with errors.Is.
var ErrHeld = errors.New("lock is held")

// HeldError says that someone else holds a lock. It matches [ErrHeld] and the error that ended
// the wait, if any.
type HeldError struct {
	Path   string
	Holder Holder // zero if the holder has not described itself (yet)
	Err    error  // the context's error
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is locked by %s", e.Path, e.Holder)
}

func (e *HeldError) Unwrap() []error { return []error{ErrHeld, e.Err} }

// Waiters hold a lock for an instant, and [Held] shares it for one. So TryAcquire tries for a
// while, and longer if the lock is only shared. The limits count the pauses, so a busy machine
// gets no fewer tries.
const (
	tryHeld   = 50 * time.Millisecond
	tryShared = 500 * time.Millisecond
)

// TryAcquire takes the lock at path without waiting for a holder. Release is to be called once.
// A lock that someone else holds is a *[HeldError]. A missing file is made (0600), a missing
// directory is not: then, or if it is removed meanwhile, the error matches [os.ErrNotExist]. The
// holder is described at once.
func TryAcquire(path string) (release func(), err error) { return TryAcquireAs(path, "") }

// TryAcquireAs is [TryAcquire] with a role in the holder's description.
func TryAcquireAs(path, role string) (release func(), err error) {
	f, err := take(context.Background(), path, openLock(path), tryLock)
	if err != nil {
		return nil, err
	}
	return f.held(role, 0), nil
}

// TryInherit is [TryAcquire] for a child process, in its [os/exec.Cmd.ExtraFiles]: the lock is held
// as long as any process has the file open, such as the child and whatever it starts. The caller
// closes the file. The holder is not described.
func TryInherit(path string) (*os.File, error) {
	f, err := take(context.Background(), path, openLock(path), tryLock)
	if err != nil {
		return nil, err
	}
	return f.File, nil
}

// Acquire is [TryAcquire], but waits until ctx ends; then the error is a *[HeldError] that wraps
// the context's. The holder is described after a moment only: each description is a change in a
// directory that others watch.
func Acquire(ctx context.Context, path string) (release func(), err error) {
	f, err := take(ctx, path, openLock(path), waitLock(exclusive))
	if err != nil {
		return nil, err
	}
	return f.held("", patience/2), nil
}

// AcquireShared is [Acquire] for a lock that others may share. Its holders are not described.
func AcquireShared(ctx context.Context, path string) (release func(), err error) {
	f, err := take(ctx, path, openLock(path), waitLock(shared))
	if err != nil {
		return nil, err
	}
	return f.close, nil
}

// withTimeout bounds the wait of [With].
const withTimeout = 10 * time.Second

// With calls f under the lock at path, which its holders keep for moments only: it waits until ctx
// ends, but no longer than ten seconds. A missing directory is made.
func With(ctx context.Context, path string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, withTimeout)
	defer cancel()
	release, err := Acquire(ctx, path)
	if err != nil {
		return err
	}
	defer release()
	return f()
}

// AcquireFile is [Acquire] for a file with a content of its own, which open opens or makes. The lock
// is held until the caller closes the file. The holder is not described.
func AcquireFile(ctx context.Context, path string, open func() (*os.File, error)) (*os.File, error) {
	f, err := take(ctx, path, open, waitLock(exclusive))
	return f.File, err
}

// A lockFile is an open lock file.
type lockFile struct {
	path string
	*os.File
}

// close releases the lock.
func (f lockFile) close() { _ = f.Close() }

// The modes of a lock.
const (
	exclusive = false
	shared    = true
)

// A tryFunc locks the file before ctx ends, and reports whether it could.
type tryFunc func(ctx context.Context, f lockFile) (bool, error)

// tryLock is the tryFunc of [TryAcquire].
func tryLock(_ context.Context, f lockFile) (bool, error) {
	for waited := time.Duration(0); ; waited += retryDelay {
		ok, err := f.lock(exclusive)
		if ok || err != nil {
			return ok, err
		}
		limit := tryHeld
		if ok, _ := f.lock(shared); ok {
			limit = tryShared
			if err := f.unlock(); err != nil {
				return false, err
			}
		}
		if waited >= limit {
			return false, context.DeadlineExceeded
		}
		time.Sleep(retryDelay)
	}
}

// waitLock returns the tryFunc that waits until ctx ends.
func waitLock(mode bool) tryFunc {
	return func(ctx context.Context, f lockFile) (bool, error) {
		for {
			ok, err := f.lock(mode)
			if ok || err != nil {
				return ok, err
			}
			if err := pause.For(ctx, retryDelay); err != nil {
				return false, err
			}
		}
	}
}

// openLock returns a function that opens the lock file at path, or makes it.
func openLock(path string) func() (*os.File, error) {
	return func() (*os.File, error) {
		file, err := files.OpenFile(path, os.O_CREATE|os.O_RDWR)
		if errors.Is(err, syscall.EROFS) { // a stop must still be possible
			file, err = files.OpenFile(path, os.O_RDONLY)
		}
		return file, err
	}
}

// take returns the file at path, opened by open and locked by try. It is opened again if it is
// removed during the wait.
func take(ctx context.Context, path string, open func() (*os.File, error), try tryFunc) (lockFile, error) {
	defer notify(ctx, path)()
	for {
		if err := ctx.Err(); err != nil {
			return lockFile{}, fmt.Errorf("lock %q: %w", path, err) // nobody knows whether it is held
		}
		file, err := open()
		if err != nil {
			return lockFile{}, fmt.Errorf("lock: %w", err)
		}
		f := lockFile{path, file}
		ok, err := try(ctx, f)
		if ok && f.inPlace() {
			return f, nil
		}
		f.close()
		switch {
		case ok: // the former holder has removed it
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			holder, _ := ReadHolder(path)
			return lockFile{}, &HeldError{Path: path, Holder: holder, Err: err}
		default:
			return lockFile{}, fmt.Errorf("lock %q: %w", path, err)
		}
	}
}

// inPlace reports whether the open file is still the one at its path.
func (f lockFile) inPlace() bool {
	locked, err := f.Stat()
	if err != nil {
		return false
	}
	gone, err := files.Gone(locked, f.path)
	return err == nil && !gone
}

// Gone returns a function that reports whether the lock file at path has been removed or
// replaced since: then its holder no longer excludes anybody. It reports false if that can't be
// determined, or if there was no file.
func Gone(path string) func() bool {
	file, err := os.Stat(path)
	if err != nil {
		return func() bool { return false }
	}
	return func() bool {
		gone, err := files.Gone(file, path)
		return err == nil && gone
	}
}

// patience is how long Acquire waits before it calls the function of [WithBlocked].
const patience = time.Second

type blockedKey struct{}

// WithBlocked returns a context with which [Acquire] and [AcquireShared] call f, once and in a
// goroutine of its own, if they wait for longer than a moment.
func WithBlocked(ctx context.Context, f func(*HeldError)) context.Context {
	return context.WithValue(ctx, blockedKey{}, f)
}

// notify calls the function of [WithBlocked], if ctx has one, unless stop is called soon.
func notify(ctx context.Context, path string) (stop func()) {
	f, _ := ctx.Value(blockedKey{}).(func(*HeldError))
	if f == nil {
		return func() {}
	}
	timer := time.AfterFunc(patience, func() {
		holder, _ := ReadHolder(path)
		f(&HeldError{Path: path, Holder: holder})
	})
	return func() { timer.Stop() }
}

// Held reports whether somebody, this process included, holds the lock at path. It
// makes no file. The answer may be old when it arrives: use it to inform, not to
// exclude.
func Held(path string) (bool, error) {
	// A shared lock: two callers do not see each other, and it works on a read-only file system.
	file, err := files.OpenFile(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	defer file.Close()
	ok, err := lockFile{path, file}.lock(shared)
	if err != nil {
		return false, fmt.Errorf("lock %q: %w", path, err)
	}
	return !ok, nil
}
