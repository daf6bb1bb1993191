// Package lock provides locks between processes on files of their own.
//
// A lock file is made once and not replaced: a rename would give the next process another
// inode, and both would hold "the" lock. Only its holder may delete it, with all that it
// protects. While it is locked, the file tells who holds it. The kernel releases a lock when its process ends,
// however it ends, so there are no stale locks.
//
// Locks are not inherited: files are opened close-on-exec. They exclude each other
// within one process too. Over NFS they are as good as the server's flock(2).
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// retryDelay is how often a blocked Acquire looks again.
const retryDelay = 10 * time.Millisecond

// infoOffset is where the holder's description begins. Locks on Windows are
// mandatory and cover the first byte, which nobody else could read.
const infoOffset = 1

// ErrHeld is what a [HeldError] matches with errors.Is.
var ErrHeld = errors.New("lock is held")

// A Holder describes the process that holds a lock.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// String describes the holder for an error message.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("pid %d (%s) since %s", h.PID, h.Command, h.Since.Local().Format(time.DateTime))
}

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

// Who waits for a lock to be free holds it for an instant then, and who asks [Held] shares it
// for one. So TryAcquire tries for a while, for longer where the lock is only shared. What
// counts is the time between tries: on a busy machine there are no fewer of them.
const (
	tryHeld   = 50 * time.Millisecond
	tryShared = 500 * time.Millisecond
)

// TryAcquire takes the lock at path without waiting for a holder and returns the
// function that releases it, to be called once. A lock held by someone else is a
// *[HeldError]. The file is made where it is missing (0600). Its directory is not, whose
// removal, also during the wait, is an error that matches [os.ErrNotExist]: then there is
// nothing any more that the lock could protect.
func TryAcquire(path string) (release func(), err error) {
	return acquire(context.Background(), path, tryLock)
}

func tryLock(f *flock.Flock, _ context.Context, delay time.Duration) (bool, error) {
	for waited := time.Duration(0); ; waited += delay {
		ok, err := f.TryLock()
		if ok || err != nil {
			return ok, err
		}
		limit := tryHeld
		if shared, _ := f.TryRLock(); shared {
			limit = tryShared
			_ = f.Unlock()
		}
		if waited >= limit {
			return false, context.DeadlineExceeded
		}
		time.Sleep(delay)
	}
}

// Acquire takes the lock at path as [TryAcquire] does, but waits for it until ctx
// ends; then the error is a *[HeldError] that wraps the context's.
func Acquire(ctx context.Context, path string) (release func(), err error) {
	return acquire(ctx, path, (*flock.Flock).TryLockContext)
}

func acquire(ctx context.Context, path string, try tryFunc) (release func(), err error) {
	f, err := take(ctx, path, try)
	if err != nil {
		return nil, err
	}
	describe(f, &Holder{PID: os.Getpid(), Command: command(), Since: time.Now().UTC().Truncate(time.Second)})
	return func() {
		describe(f, nil)
		_ = f.Close()
	}, nil
}

// AcquireShared takes the lock at path together with all others who share it, and
// otherwise as [Acquire] does. Who shares a lock is not described.
func AcquireShared(ctx context.Context, path string) (release func(), err error) {
	f, err := take(ctx, path, (*flock.Flock).TryRLockContext)
	if err != nil {
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// A tryFunc locks the file, trying again after each delay.
type tryFunc func(f *flock.Flock, ctx context.Context, delay time.Duration) (bool, error)

// take returns the file at path, made if need be, locked by try and still in its place.
// If it is removed during the wait, but not its directory, it is made again.
func take(ctx context.Context, path string, try tryFunc) (*flock.Flock, error) {
	defer notify(ctx, path)()
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("lock %q: %w", path, err) // nobody knows whether it is held
		}
		// A fresh value each time: one shared flock.Flock may be locked twice.
		f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
		ok, err := try(f, ctx, retryDelay)
		if ok && inPlace(f) {
			return f, nil
		}
		_ = f.Close()
		switch {
		case ok: // whoever held it has removed it
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			holder, _ := ReadHolder(path)
			return nil, &HeldError{Path: path, Holder: holder, Err: err}
		default:
			return nil, fmt.Errorf("lock %q: %w", path, err)
		}
	}
}

// inPlace tells whether the locked file is still the one at its path.
func inPlace(f *flock.Flock) bool {
	locked, err := f.Stat()
	if err != nil {
		return false
	}
	gone, err := isGone(locked, f.Path())
	return err == nil && !gone
}

// Gone returns a function that tells whether the lock file at path has been removed since,
// or another put in its place: then whoever holds the lock excludes nobody any more. Where
// that can't be found out it says no, and so it does where there is no file to begin with.
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

// isGone tells whether the file is not the one at path.
func isGone(file os.FileInfo, path string) (bool, error) {
	now, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(file, now), err
}

// patience is how long a lock is waited for before somebody is told of it.
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

// describe writes the holder into the locked file, or removes it if h is nil. Where that
// fails, as on a full disk, the lock is as good, and only messages do not say who holds it.
func describe(f *flock.Flock, h *Holder) {
	if !inPlace(f) {
		return // another lock by now
	}
	file, err := os.OpenFile(f.Path(), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if h == nil {
		_ = file.Truncate(0)
		return
	}
	data, err := json.Marshal(h)
	if err != nil {
		return
	}
	if n, err := file.WriteAt(append(data, '\n'), infoOffset); err == nil {
		_ = file.Truncate(infoOffset + int64(n))
	}
}

// ReadHolder returns who holds the lock at path, as that process described itself.
// The zero Holder and no error mean that it is free or has not said so yet; it
// takes [Held] to know.
func ReadHolder(path string) (Holder, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Holder{}, nil
	}
	if err != nil {
		return Holder{}, fmt.Errorf("lock: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, infoOffset, 4096))
	if err != nil {
		return Holder{}, fmt.Errorf("lock %q: %w", path, err)
	}
	var h Holder
	if json.Unmarshal(data, &h) != nil {
		return Holder{}, nil // being written just now
	}
	return h, nil
}

// Held tells whether somebody, this process included, holds the lock at path. It
// makes no file. The answer may be old when it arrives: use it to inform, not to
// exclude.
func Held(path string) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	// A shared lock, so that two who ask do not see each other, which can also be had where
	// nothing can be written.
	f := flock.New(path, flock.SetFlag(os.O_RDONLY))
	ok, err := f.TryRLock()
	_ = f.Close()
	if err != nil {
		return false, fmt.Errorf("lock %q: %w", path, err)
	}
	return !ok, nil
}

// command is how this process was started, short enough for one line.
func command() string {
	const limit = 3
	args := os.Args[:min(len(os.Args), limit)]
	line := filepath.Base(args[0])
	for _, a := range args[1:] {
		line += " " + a
	}
	return line
}
