// Package lock provides locks between processes on files of their own.
//
// A lock file is made once and not replaced: a rename would give the next process another
// inode, and both would hold "the" lock. Only its holder may delete it, with all that it
// protects. While it is held for longer than a moment, the file describes the holder. The
// kernel releases a lock when its process ends, however it ends, so there are no stale
// locks.
//
// Locks are not inherited: files are opened close-on-exec. They exclude each other
// within one process too. Over NFS they are as good as the server's flock(2).
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// retryDelay is how often a blocked Acquire looks again.
const retryDelay = 10 * time.Millisecond

// ErrHeld is what a [HeldError] matches with errors.Is.
var ErrHeld = errors.New("lock is held")

// HeldError says that a lock is held by someone else. It matches [ErrHeld] and the
// error that ended the wait, if there was one.
type HeldError struct {
	Path   string
	Holder Holder // zero where the holder has not described itself (yet)
	Err    error  // the context's error
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("%s is locked by %s", e.Path, e.Holder)
}

func (e *HeldError) Unwrap() []error { return []error{ErrHeld, e.Err} }

// Those that wait for a lock to be free hold it for an instant then, and those that ask
// [Held] share it for one. So TryAcquire tries for a while, for longer where the lock is
// only shared. What counts is the time between tries: on a busy machine there are no fewer
// of them.
const (
	tryHeld   = 50 * time.Millisecond
	tryShared = 500 * time.Millisecond
)

// TryAcquire takes the lock at path without waiting for a holder and returns the
// function that releases it, to be called once. A lock held by someone else is a
// *[HeldError]. The file is made where it is missing (0600), its directory is not. Where
// the directory is missing, or is removed during the wait, the error matches
// [os.ErrNotExist]: what the lock would protect is gone. The holder is described at once.
func TryAcquire(path string) (release func(), err error) { return TryAcquireAs(path, "") }

// TryAcquireAs is [TryAcquire] for a holder that is described with a role, for others to
// know it by.
func TryAcquireAs(path, role string) (release func(), err error) {
	f, err := take(context.Background(), path, tryLock)
	if err != nil {
		return nil, err
	}
	return f.held(role, 0), nil
}

// Acquire takes the lock at path as [TryAcquire] does, but waits for it until ctx
// ends; then the error is a *[HeldError] that wraps the context's. The holder is described
// once it has held the lock for a moment: most release it before, and each description is
// a change in a directory that others watch.
func Acquire(ctx context.Context, path string) (release func(), err error) {
	f, err := take(ctx, path, waitLock(exclusive))
	if err != nil {
		return nil, err
	}
	return f.held("", patience/2), nil
}

// AcquireShared takes the lock at path together with all others who share it, and
// otherwise as [Acquire] does. Those who share a lock are not described.
func AcquireShared(ctx context.Context, path string) (release func(), err error) {
	f, err := take(ctx, path, waitLock(shared))
	if err != nil {
		return nil, err
	}
	return f.close, nil
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

// A tryFunc locks the file and reports whether it could, before ctx ends.
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
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(retryDelay):
			}
		}
	}
}

// take returns the file at path, made if need be, locked by try and still in its place.
// If it is removed during the wait, but not its directory, it is made again.
func take(ctx context.Context, path string, try tryFunc) (lockFile, error) {
	defer notify(ctx, path)()
	for {
		if err := ctx.Err(); err != nil {
			return lockFile{}, fmt.Errorf("lock %q: %w", path, err) // nobody knows whether it is held
		}
		file, err := open(path, os.O_CREATE|os.O_RDWR)
		if errors.Is(err, syscall.EROFS) { // what is there must still be possible to stop
			file, err = open(path, os.O_RDONLY)
		}
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
	gone, err := isGone(locked, f.path)
	return err == nil && !gone
}

// Gone returns a function that reports whether the lock file at path has been removed since,
// or replaced: then its holder no longer excludes anybody. It reports false where that can't be
// determined, and where there is no file to begin with.
func Gone(path string) func() bool {
	file, err := os.Stat(path)
	if err != nil {
		return func() bool { return false }
	}
	return func() bool {
		gone, err := isGone(file, path)
		return err == nil && gone
	}
}

// isGone reports whether the file is not the one at path.
func isGone(file fs.FileInfo, path string) (bool, error) {
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(file, now), err
}

// patience is how long Acquire waits before it reports the wait.
const patience = time.Second

type blockedKey struct{}

// WithBlocked returns a context for [Acquire] and [AcquireShared] under which those
// that wait for longer than a moment call f, once each and from a goroutine of its own,
// with what they wait for.
func WithBlocked(ctx context.Context, f func(*HeldError)) context.Context {
	return context.WithValue(ctx, blockedKey{}, f)
}

// notify calls the function of [WithBlocked], if ctx has one, once the lock at path has been
// waited for too long, unless stop is called before.
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
	file, err := open(path, os.O_RDONLY)
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
