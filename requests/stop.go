package requests

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/process"
)

// RequestStop asks the supervisor to stop the instance and to end, as the request's Stop says.
const RequestStop = "stop"

// StopOptions say how an instance is to be stopped.
type StopOptions struct {
	// Keep leaves the context and its promotion, for a restart.
	Keep bool `json:"keep,omitempty"`
	// Force kills the engine without waiting for its containers, and a supervisor that does
	// not react.
	Force bool `json:"force,omitempty"`
	// Undo takes back a start: an engine that ran before goes on.
	Undo bool `json:"undo,omitempty"`
	// Late is why a start was taken back that was not ready in time; it becomes the last
	// failure.
	Late string `json:"late,omitempty"`
	// Patience is how long the engine may take to stop its containers, if longer than their own
	// timeouts; 0 for those.
	Patience time.Duration `json:"patience,omitempty"`
}

// A Stop is what a stop asks for.
type Stop struct {
	// Supervisor is the process that is to end. Others ignore the request.
	Supervisor process.ID `json:"supervisor"`
	StopOptions
}

// Begin marks the request as begun: it can't be withdrawn any more.
func Begin(dir string, r Request) error {
	err := files.Rename(filepath.Join(dir, r.ID+extPending), filepath.Join(dir, r.ID+extBegun))
	if err != nil {
		return fmt.Errorf("begin request: %w", err)
	}
	return nil
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

// Drop removes all requests in the directory but those for a stop: the instance is being
// stopped.
func Drop(dir string) error {
	found, err := scan(dir, nil)
	for _, r := range found {
		if r.Type != RequestStop {
			err = errors.Join(err, remove(dir, r.ID, extPending, extBegun))
		}
	}
	return err
}
