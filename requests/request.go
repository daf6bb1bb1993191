package requests

import (
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// The types of requests.
const (
	RequestAction = "action" // do Action to the container Key
	RequestDelete = "delete" // delete the object Key, of an image the Reference
	RequestCancel = "cancel" // give up the deletion of the same
	RequestSync   = "sync"   // sync in full
	RequestSettle = "settle" // have the mirror see everything until now
	RequestStop   = "stop"   // stop the instance and end, as the request's Stop says
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

// StopOptions say how an instance is to be stopped.
type StopOptions struct {
	// KeepFor leaves the context and its promotion for this process, which starts the instance
	// again: as long as it lives.
	KeepFor process.ID `json:"keepFor,omitzero"`
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
