package requests

import (
	"time"

	"github.com/docker-rd/docker-rd/internal/process"
)

// RequestStop asks the supervisor to stop the instance and to end, as the request's Stop says.
const RequestStop = "stop"

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
