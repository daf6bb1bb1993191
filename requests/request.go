package requests

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// A Request is what somebody asks the supervisor for: one file in the directory of
// requests, made atomically and removed when it is decided.
type Request struct {
	ID   string     `json:"id"` // given by Submit; sorts by time
	Type string     `json:"type"`
	Kind state.Kind `json:"kind,omitempty"`
	// Key is the identity of the object that is meant, as the state file has it, and
	// Name what the person called it.
	Key  string `json:"key,omitempty"`
	Name string `json:"name,omitempty"`
	// Action is one of Actions.
	Action string `json:"action,omitempty"`
	// Reference is one of an image's RepoTags to delete, or empty for the image.
	Reference string `json:"reference,omitempty"`
	// CreatedAt is the CreatedAt of a volume that is meant: its name may be another's
	// by now.
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	RequestedAt time.Time `json:"requestedAt"` // set by Submit
	// Reply asks for the outcome to be left for [Await].
	Reply bool `json:"reply,omitempty"`
	// Stop is what a RequestStop asks for.
	Stop *Stop `json:"stop,omitempty"`

	// Sent says of an action that the engine may have been told, and StartedBefore
	// when the container had been started last: set when it is begun.
	Sent          bool      `json:"sent,omitempty"`
	StartedBefore time.Time `json:"startedBefore,omitzero"`

	// begun says that a supervisor that is gone began it.
	begun bool
}

// target is what requests about the same deletion agree on.
type target struct {
	kind           state.Kind
	key, reference string
}

func (r *Request) target() target { return target{r.Kind, r.Key, r.Reference} }

// An Outcome is how a request ended.
type Outcome struct {
	ID    string `json:"id"`
	State string `json:"state"` // state.ActionSucceeded, state.ActionFailed or OutcomeCancelled
	Error string `json:"error"`
	// Killed are the names of the containers that a stop had to kill.
	Killed []string `json:"killed,omitempty"`
}

// OutcomeCancelled is the state of a deletion that was cancelled.
const OutcomeCancelled = "Cancelled"

// Files in the directory of requests.
const (
	extPending = ".json"  // to be done
	extBegun   = ".begun" // can't be withdrawn any more
	extDone    = ".done"  // the outcome, for who waits for it
)

// abandoned is how long an outcome is kept for somebody who does not fetch it.
const abandoned = time.Minute

// Submit puts a request into the directory and returns its id. It does not look at
// whether there is a supervisor.
func Submit(dir string, r Request) (id string, err error) {
	random := make([]byte, 4)
	_, _ = rand.Read(random)
	r.RequestedAt = time.Now().UTC()
	r.ID = fmt.Sprintf("%019d-%s", r.RequestedAt.UnixNano(), hex.EncodeToString(random))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("submit request: %w", err)
	}
	if err := writeJSON(dir, r.ID+extPending, r); err != nil {
		return "", fmt.Errorf("submit request: %w", err)
	}
	return r.ID, nil
}

// Withdraw takes back a request that nobody has begun. It tells whether it could.
func Withdraw(dir, id string) bool {
	return files.Remove(filepath.Join(dir, id+extPending)) == nil
}

// Await waits for the outcome of a request that asked for a Reply and takes it. The
// error is that of ctx, or fs.ErrNotExist where the request is gone without one: the
// instance was stopped.
func Await(ctx context.Context, dir, id string) (Outcome, error) {
	w := dirwatch.Follow(dir, pollInterval, nil)
	defer w.Close()
	done := filepath.Join(dir, id+extDone)
	for {
		// In this order: the outcome is there before the request goes.
		pending := exists(filepath.Join(dir, id+extPending)) || exists(filepath.Join(dir, id+extBegun))
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

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeJSON makes a file atomically.
func writeJSON(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "."+name+".tmp")
	if err := os.WriteFile(temp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	if err := files.Rename(temp, filepath.Join(dir, name)); err != nil {
		_ = files.Remove(temp)
		return err
	}
	return nil
}

// An Inbox brings the requests of a directory, each once.
type Inbox struct {
	dir      string
	log      *slog.Logger
	requests chan Request
}

// NewInbox returns an inbox that brings nothing before Run.
func NewInbox(dir string, log *slog.Logger) *Inbox {
	return &Inbox{dir: dir, log: log, requests: make(chan Request)}
}

// Requests returns the channel of requests, oldest first. It is never closed.
func (i *Inbox) Requests() <-chan Request { return i.requests }

// Run watches the directory until ctx ends, whose error it returns. Requests that are
// there already come first.
func (i *Inbox) Run(ctx context.Context) error {
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return fmt.Errorf("watch requests: %w", err)
	}
	// Whoever submits a request makes the directory anew where somebody has removed it.
	w := dirwatch.Follow(i.dir, pollInterval, func(cause error) {
		i.log.Warn("requests can't be watched and are looked for instead", "dir", i.dir, "error", cause)
	})
	defer w.Close()
	brought := map[string]bool{}
	for {
		found, err := scan(i.dir, i.log)
		if err != nil {
			i.log.Error("requests can't be read", "dir", i.dir, "error", err)
		}
		there := map[string]bool{}
		for _, r := range found {
			there[r.ID] = true
			if brought[r.ID] {
				continue
			}
			select {
			case i.requests <- r:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		brought = there
		if err := w.Wait(ctx); err != nil {
			return err
		}
	}
}

// scan reads the requests of the directory, oldest first, and removes outcomes that nobody
// fetched. Requests that can't be read are removed, too, and logged, if log is not nil.
func scan(dir string, log *slog.Logger) ([]Request, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []Request
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		id, ext := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), filepath.Ext(e.Name())
		switch ext {
		case extPending, extBegun:
		case extDone, ".tmp":
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
				_ = files.Remove(path)
			}
			continue
		default:
			continue
		}
		data, err := files.Read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // decided, or withdrawn
		}
		var r Request
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err == nil && r.ID != id {
			err = fmt.Errorf("its id is %q", r.ID)
		}
		if err != nil {
			if log != nil {
				log.Error("request can't be read and is dropped", "path", path, "error", err)
			}
			_ = files.Remove(path)
			continue
		}
		r.begun = ext == extBegun
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b Request) int { return cmp.Compare(a.ID, b.ID) })
	return found, nil
}

// pollInterval is how often a directory is looked at that can't be watched.
const pollInterval = 250 * time.Millisecond
