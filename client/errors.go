package client

import "github.com/docker-rd/docker-rd/instance"

// A Problem says in one word why a request to an instance has failed.
type Problem string

// Problems.
const (
	NotRunning   Problem = "NotRunning"   // no supervisor takes requests, or no engine answers
	NotReady     Problem = "NotReady"     // the start did not end in time
	Removed      Problem = "Removed"      // by somebody else, while it was waited for
	EngineFailed Problem = "EngineFailed" // the engine can't be started, or not be connected to
	Crashed      Problem = "Crashed"      // the supervisor can't be started
	Stopping     Problem = "Stopping"     // the stop goes on, but is not waited for
	ContextInUse Problem = "ContextInUse" // its context is current, and not by docker rd's doing
	Unanswered   Problem = "Unanswered"   // a request, or a sync, did not end as it should
	Interrupted  Problem = "Interrupted"  // a request was under way when the supervisor ended
	Disconnected Problem = "Disconnected" // the supervisor is not connected to the engine
	NoSystemd    Problem = "NoSystemd"    // to start it with the system
	TooNew       Problem = "TooNew"       // a later version wrote its state
)

// An Error says what is wrong with an instance.
type Error struct {
	Instance *instance.Instance
	Problem  Problem
	Err      error // names the instance
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// problem makes err one of the instance's; nil stays nil.
func problem(i *instance.Instance, p Problem, err error) error {
	if err == nil {
		return nil
	}
	return &Error{i, p, err}
}
