// Package wire is what a supervisor and those who start, stop and watch it agree on: its
// command line, its exit statuses, and how it is told to end.
package wire

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/process"
)

// Verb is the argument that makes docker-rd a supervisor: supervise DIR [STOP-OPTIONS].
// It is no command: nobody types it.
const Verb = "supervise"

// Exit statuses of a supervisor that have a meaning, of sysexits.h's.
const (
	ExitNoSpace = 74 // EX_IOERR: the disk is full
	ExitHeld    = 75 // EX_TEMPFAIL: it was to stop an instance that somebody else holds
)

// StopOptions say how to stop.
type StopOptions struct {
	// Keep leaves the context and the promotion as they are, for a restart.
	Keep bool
	// Force ends the engine without waiting for its containers, and a supervisor
	// that does not react.
	Force bool
	// Undo takes back a start: an engine that was there before goes on.
	Undo bool
}

// A StopRequest is what a supervisor finds when it is told to end. It is optional: the
// signal alone is a stop without options.
type StopRequest struct {
	Supervisor process.ID `json:"supervisor"` // a request for another one is void
	StopOptions
}

// StopRequestPath returns the file that a stop request is in.
func StopRequestPath(i *instance.Instance) string { return filepath.Join(i.Paths.State, "stop.json") }

// ReadStopRequest returns what the supervisor self was asked for.
func ReadStopRequest(i *instance.Instance, self process.ID) StopOptions {
	var r StopRequest
	data, err := os.ReadFile(StopRequestPath(i))
	if err != nil || json.Unmarshal(data, &r) != nil || r.Supervisor != self {
		return StopOptions{}
	}
	return r.StopOptions
}
