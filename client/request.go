package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// Request asks the instance's supervisor for something and waits for the outcome. Without a
// supervisor the request is refused. When ctx ends, a request that was not begun is taken back; a
// deletion stays until it is cancelled.
func Request(ctx context.Context, i *instance.Instance, r requests.Request) (requests.Outcome, error) {
	id, err := supervisorOf(i)
	if err != nil {
		return requests.Outcome{}, err
	}
	dir := i.Paths.RequestsDir()
	r.Reply = true
	request, err := requests.Submit(dir, r)
	if err != nil {
		return requests.Outcome{}, err
	}
	for {
		o, err := await(ctx, dir, request, id)
		switch {
		case err == nil:
			return o, nil
		case errors.Is(err, fs.ErrNotExist):
			return o, fmt.Errorf("instance %q was stopped before it was done", i.Name)
		case ctx.Err() != nil && r.Type == requests.RequestDelete:
			return o, gaveUp(ctx, i, "not done in time, but still requested")
		case ctx.Err() != nil:
			if requests.Withdraw(dir, request) {
				return o, gaveUp(ctx, i, "not begun in time, and taken back")
			}
			return o, gaveUp(ctx, i, "not done in time, but under way")
		case !errors.Is(err, errSupervisorEnded):
			return o, err
		}
		// Another one, if there is one by now, goes on with it.
		if id, err = supervisorOf(i); err == nil {
			continue
		}
		if requests.Withdraw(dir, request) {
			return o, problem(i, NotRunning, fmt.Errorf("instance %q: its supervisor ended before it was done", i.Name))
		}
		return o, problem(i, Interrupted, fmt.Errorf("instance %q: its supervisor ended while it was under way", i.Name))
	}
}

// Settle has the instance's mirror see all that its engine has done until now, and returns when
// that has reached the state file. Where there is no supervisor, or it is not connected to the
// engine, the error has the problem [NotRunning] or [Disconnected]. When ctx ends, the error is
// ctx's, or has the problem [Unanswered] after its deadline.
func Settle(ctx context.Context, i *instance.Instance) error {
	o, err := Request(ctx, i, requests.Request{Type: requests.RequestSettle})
	switch {
	case err != nil:
		return err
	case o.State == requests.OutcomeDisconnected:
		return problem(i, Disconnected, fmt.Errorf("instance %q: %s", i.Name, o.Error))
	case o.State != state.ActionSucceeded:
		return problem(i, Unanswered, fmt.Errorf("instance %q: %s", i.Name, o.Error))
	}
	return nil
}

// Is reports whether err says that the instance has the problem.
func Is(err error, p Problem) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Problem == p
}

func gaveUp(ctx context.Context, i *instance.Instance, text string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if state.Stale(i.Paths.StateFile()) {
		text += "; its state file can't be written"
	}
	return problem(i, Unanswered, failure.Timeout("instance %q: %s", i.Name, text))
}

// await waits for the outcome of a request while the supervisor lives.
func await(ctx context.Context, dir, request string, id process.ID) (requests.Outcome, error) {
	round, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go cancelAtEnd(round, id, cancel)
	o, err := requests.Await(round, dir, request)
	if err != nil && errors.Is(context.Cause(round), errSupervisorEnded) {
		// The last thing it did may have been this.
		if o, err = requests.Fetch(dir, request); err != nil {
			err = errSupervisorEnded
		}
	}
	return o, err
}

// TakesRequests returns nil if the instance has a supervisor that takes requests, and a
// refusal if it has none, or one that is being stopped.
func TakesRequests(i *instance.Instance) error {
	_, err := supervisorOf(i)
	return err
}

// supervisorOf returns the instance's supervisor, which takes requests.
func supervisorOf(i *instance.Instance) (process.ID, error) {
	o := instance.Observe(i)
	if err := RefuseNewer(i, o.StateErr); err != nil {
		return process.ID{}, err
	}
	if !o.Live || o.Condition(state.EngineReady).Reason == state.ReasonStopped {
		return process.ID{}, problem(i, NotRunning, failure.Refuse("instance %q is not running", i.Name))
	}
	return instance.SupervisorID(o.State.Supervisor), nil
}
