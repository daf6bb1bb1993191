package requests

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/files"
)

// A request is a file in the directory of requests, ID.json, which the supervisor renames when it
// begins what can't be withdrawn any more, and removes when it is decided. The outcome is another
// file, which appears before the first one goes.

// The ends of the files' names.
const (
	extPending = ".json"  // to be done
	extBegun   = ".begun" // can't be withdrawn any more
	extDone    = ".done"  // the outcome, for Await
	extTemp    = ".tmp"   // a request that another program is writing
)

// abandoned is how long an outcome is kept that nobody fetches. Who waits for it may be stopped for a
// while (Ctrl-Z, a machine that sleeps), or have another clock.
const abandoned = 24 * time.Hour

// Submit puts a request into the directory and returns its id, whether there is a supervisor or
// not.
func Submit(dir string, r Request) (id string, err error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	r.RequestedAt = time.Now().UTC()
	r.ID = fmt.Sprintf("%019d-%s", r.RequestedAt.UnixNano(), hex.EncodeToString(random))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("submit request: %w", err)
	}
	if err := files.ReplaceJSON(filepath.Join(dir, r.ID+extPending), r); err != nil {
		return "", fmt.Errorf("submit request: %w", err)
	}
	return r.ID, nil
}

// Withdraw removes a request that is not begun. It reports whether it could.
func Withdraw(dir, id string) bool {
	return files.Remove(filepath.Join(dir, id+extPending)) == nil
}

// Await waits for the outcome of a request with Reply, and removes it. The error is ctx's,
// or fs.ErrNotExist if the request is gone without an outcome: the instance was stopped.
func Await(ctx context.Context, dir, id string) (Outcome, error) {
	w := dirwatch.Follow(dir, pollInterval, nil)
	defer w.Close()
	for {
		// In this order: the outcome appears before the request goes.
		pending := isPending(dir, id)
		o, err := Fetch(dir, id)
		if !pending || !errors.Is(err, fs.ErrNotExist) {
			return o, err
		}
		if err := ctx.Err(); err != nil { // after a look: this process may have been stopped for a while
			return Outcome{}, err
		}
		_ = waitOrLook(ctx, w)
	}
}

// lookAgain is how long to wait for the news of an outcome, or of a request that could not be read.
// Not every file system has them.
const lookAgain = time.Second

// Fetch returns the outcome of a request with Reply, and removes it. The error matches
// fs.ErrNotExist if there is none, or none yet.
func Fetch(dir, id string) (o Outcome, err error) {
	done := filepath.Join(dir, id+extDone)
	if err := files.ReadJSON(done, &o); err != nil {
		return Outcome{}, fmt.Errorf("read outcome %q: %w", done, err)
	}
	_ = files.Remove(done)
	return o, nil
}

// pollInterval is how often a directory is read that can't be watched.
const pollInterval = 250 * time.Millisecond

// Begin marks the request as begun: it can't be withdrawn any more.
func Begin(dir string, r Request) error {
	err := files.Rename(filepath.Join(dir, r.ID+extPending), filepath.Join(dir, r.ID+extBegun))
	if err != nil {
		return fmt.Errorf("begin request: %w", err)
	}
	return nil
}

// isPending reports whether the request is neither settled nor withdrawn.
func isPending(dir, id string) bool {
	return files.Exists(filepath.Join(dir, id+extPending)) || Begun(dir, id)
}

// Begun reports whether the request is begun and not settled.
func Begun(dir, id string) bool { return files.Exists(filepath.Join(dir, id+extBegun)) }

// Finish leaves the outcome of a request with Reply, and removes the request.
func Finish(dir string, r Request, o Outcome) error {
	err := answer(dir, r, o) // first, or the request would seem to be dropped
	return errors.Join(err, remove(dir, r.ID, extPending, extBegun))
}

// answer leaves the outcome of a request with Reply.
func answer(dir string, r Request, o Outcome) error {
	if !r.Reply {
		return nil
	}
	return files.ReplaceJSON(filepath.Join(dir, r.ID+extDone), o)
}

// Forget removes all files of a request.
func Forget(dir, id string) { _ = remove(dir, id, extPending, extBegun, extDone) }

func remove(dir, id string, exts ...string) error {
	var errs []error
	for _, ext := range exts {
		if err := files.Remove(filepath.Join(dir, id+ext)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Stops returns the requests to stop in the directory, as far as they can be read.
func Stops(dir string) []Request {
	found, _, _ := scan(dir, nil, nil)
	return slices.DeleteFunc(found, func(r Request) bool { return r.Type != RequestStop })
}

// Drop removes all requests in the directory but those for a stop: the instance is being
// stopped.
func Drop(dir string) error {
	found, _, err := scan(dir, nil, nil)
	for _, r := range found {
		if r.Type != RequestStop {
			err = errors.Join(err, remove(dir, r.ID, extPending, extBegun))
		}
	}
	return err
}
