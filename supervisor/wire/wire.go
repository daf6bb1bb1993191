// Package wire is what a supervisor and its clients agree on: its command line, its exit
// statuses, and the report of its end.
package wire

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Verb is the argument that makes docker-rd a supervisor: supervise DIR [STOP-OPTIONS|-f].
// It is no command: nobody types it.
const Verb = "supervise"

// Foreground takes the place of STOP-OPTIONS for a supervisor under a process manager.
const Foreground = "-f"

// Role is the role in which a supervisor holds its lock. Commands hold the lock for moments.
const Role = "supervisor"

// ExitHeld is the exit status of a supervisor that was to stop an instance while another
// one runs.
const ExitHeld = 75 // EX_TEMPFAIL of sysexits.h

// A Report is a supervisor's report of its end to the process that started it. Its standard
// output is a pipe for that.
type Report struct {
	Error  string   `json:"error,omitempty"` // why it failed
	Hint   string   `json:"hint,omitempty"`
	Code   int      `json:"code,omitempty"`   // the exit status that the error calls for
	Killed []string `json:"killed,omitempty"` // the containers that a stop had to kill
}

// Write writes the report. It is no error if the reader has gone.
func (r Report) Write(w io.Writer) { _ = json.NewEncoder(w).Encode(r) }

// ReadReport reads a report up to the end of r; the zero report if there is none.
func ReadReport(r io.Reader) Report {
	var report Report
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		report = Report{} // the supervisor was killed, or has nothing to say
	}
	_, _ = io.Copy(io.Discard, r)
	return report
}

// Failed returns the report of an error.
func Failed(err error) Report {
	return Report{Error: err.Error(), Hint: failure.Hint(err), Code: failure.Code(err)}
}

// Err returns the reported error, nil if there is none.
func (r Report) Err() error {
	if r.Error == "" {
		return nil
	}
	err := failure.WithCode(errors.New(r.Error), r.Code)
	if r.Hint != "" {
		err = failure.WithHint(err, "%s", r.Hint)
	}
	return err
}
