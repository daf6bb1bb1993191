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
	// Keep leaves the context and the promotion as they are, for a restart.
	Keep bool `json:"keep,omitempty"`
	// Force ends the engine without waiting for its containers, and a supervisor
	// that does not react.
	Force bool `json:"force,omitempty"`
	// Undo takes back a start: an engine that was there before goes on.
	Undo bool `json:"undo,omitempty"`
	// Late is why a start was taken back that was not ready in time; it becomes the last
	// failure.
	Late string `json:"late,omitempty"`
	// Patience is how long the engine may take to stop its containers, if that is longer
	// than what they were given themselves; 0 where nobody said.
	Patience time.Duration `json:"patience,omitempty"`
}

// A Stop is what a stop asks for.
type Stop struct {
	// Supervisor is the process that is to end. For any other the request is void.
	Supervisor process.ID `json:"supervisor"`
	StopOptions
}

// Begin notes that the request was taken: it can't be withdrawn any more.
func Begin(dir string, r Request) error {
	err := files.Rename(filepath.Join(dir, r.ID+extPending), filepath.Join(dir, r.ID+extBegun))
	if err != nil {
		return fmt.Errorf("begin request: %w", err)
	}
	return nil
}

// Begun reports whether the request was taken, and is not settled.
func Begun(dir, id string) bool { return exists(filepath.Join(dir, id+extBegun)) }

// Finish leaves the outcome of a request that asked for a Reply, and removes the request.
func Finish(dir string, r Request, o Outcome) error {
	var err error
	if r.Reply {
		err = writeJSON(dir, r.ID+extDone, o) // first, so that the request never seems to be dropped
	}
	return errors.Join(err, remove(dir, r.ID, extPending, extBegun))
}

// Forget removes whatever there is of a request.
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

// Drop removes all requests of the directory but those that ask for a stop: the instance
// is being stopped.
func Drop(dir string) error {
	found, err := scan(dir, nil)
	for _, r := range found {
		if r.Type != RequestStop {
			err = errors.Join(err, remove(dir, r.ID, extPending, extBegun))
		}
	}
	return err
}
