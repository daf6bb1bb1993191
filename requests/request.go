package requests

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/dirwatch"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// The types of requests.
const (
	RequestAction = "action" // do Action to the container Key
	RequestDelete = "delete" // delete the object Key, of an image the Reference
	RequestCancel = "cancel" // give up the deletion of the same
	RequestSync   = "sync"   // sync in full
	RequestSettle = "settle" // have the mirror see everything until now
)

// The actions on a container.
const (
	ActionStart   = "start"
	ActionStop    = "stop"
	ActionPause   = "pause"
	ActionUnpause = "unpause"
	ActionRestart = "restart"
)

// Actions returns all actions.
func Actions() []string {
	return []string{ActionStart, ActionStop, ActionPause, ActionUnpause, ActionRestart}
}

// A Request to the supervisor is one file in the directory of requests, made atomically and
// removed when it is decided.
type Request struct {
	ID   string     `json:"id"` // given by Submit; sorts by time
	Type string     `json:"type"`
	Kind state.Kind `json:"kind,omitempty"`
	// Key is the object's key in the state file, and Name what the user called it.
	Key  string `json:"key,omitempty"`
	Name string `json:"name,omitempty"`
	// Action is one of Actions.
	Action string `json:"action,omitempty"`
	// Reference is one of an image's RepoTags to delete, or empty for the image.
	Reference string `json:"reference,omitempty"`
	// CreatedAt is that of the volume that is meant: another may have its name by now.
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	RequestedAt time.Time `json:"requestedAt"` // set by Submit
	// Reply asks for the outcome to be left for [Await].
	Reply bool `json:"reply,omitempty"`
	// Sizes asks, of a sync, for what objects take on disk to be measured, too.
	Sizes bool `json:"sizes,omitempty"`
	// Stop is what a RequestStop asks for.
	Stop *Stop `json:"stop,omitempty"`
	// First asks for the outcome of a deletion's first try: OutcomeRefused if it goes on.
	First bool `json:"first,omitempty"`

	// Sent says that an action may have reached the engine, and StartedBefore when the
	// container was last started: set when it is begun.
	Sent          bool      `json:"sent,omitempty"`
	StartedBefore time.Time `json:"startedBefore,omitzero"`

	// begun: a supervisor that is gone has begun it.
	begun bool
}

type target struct {
	kind           state.Kind
	key, reference string
}

func (r *Request) target() target { return target{r.Kind, r.Key, r.Reference} }

// An Outcome is how a request ended.
type Outcome struct {
	ID string `json:"id"`
	// State is state.ActionSucceeded, state.ActionFailed or one of Outcome….
	State string `json:"state"`
	Error string `json:"error"`
	// Killed are the names of the containers that a stop had to kill.
	Killed []string `json:"killed,omitempty"`
}

// Outcomes beside those of actions.
const (
	OutcomeDisconnected = "Disconnected" // the mirror gets no events
	OutcomeCancelled    = "Cancelled"    // somebody has cancelled it
	OutcomeRefused      = "Refused"      // the engine refused; it stays requested and is tried again
)

// Files in the directory of requests.
const (
	extPending = ".json"  // to be done
	extBegun   = ".begun" // can't be withdrawn any more
	extDone    = ".done"  // the outcome, for Await
	extTemp    = ".tmp"   // a request that another program is writing
)

// abandoned is how long an outcome is kept that nobody fetches.
const abandoned = time.Minute

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

// Await waits for the outcome of a request with Reply, and removes it. The error is that of ctx,
// or fs.ErrNotExist if the request is gone without an outcome: the instance was stopped.
func Await(ctx context.Context, dir, id string) (Outcome, error) {
	w := dirwatch.Follow(dir, pollInterval, nil)
	defer w.Close()
	done := filepath.Join(dir, id+extDone)
	for {
		// In this order: the outcome appears before the request goes.
		pending := files.Exists(filepath.Join(dir, id+extPending)) || files.Exists(filepath.Join(dir, id+extBegun))
		data, err := files.Read(done)
		switch {
		case err == nil:
			var o Outcome
			if err := json.Unmarshal(data, &o); err != nil {
				return Outcome{}, fmt.Errorf("read outcome %q: %w", done, err)
			}
			_ = files.Remove(done)
			return o, nil
		case !errors.Is(err, fs.ErrNotExist):
			return Outcome{}, fmt.Errorf("read outcome: %w", err)
		case !pending:
			return Outcome{}, fmt.Errorf("request %q was dropped: %w", id, fs.ErrNotExist)
		}
		if err := w.Wait(ctx); err != nil {
			return Outcome{}, err
		}
	}
}

// pollInterval is how often a directory is read that can't be watched.
const pollInterval = 250 * time.Millisecond
