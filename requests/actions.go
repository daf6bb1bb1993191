package requests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moby/moby/client"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/pause"
	"github.com/docker-rd/docker-rd/mirror/state"
)

const (
	// actionTimeout bounds an action, beside the time that the container has to stop.
	actionTimeout = time.Minute
	// lookDelay and lookTimeout are how often and how long a container is inspected after an
	// action without an answer, beside the time that it has to stop. An inspection that fails is
	// repeated as often.
	lookDelay   = 200 * time.Millisecond
	lookTimeout = 10 * time.Second
	// seenTimeout bounds how long an outcome waits until the mirror has seen its effect.
	seenTimeout = 2 * time.Second
)

func (e *Executor) acceptAction(r Request) {
	if last, ok := e.store.Container(r.Key); ok && last.LastAction != nil && last.LastAction.Request == r.ID {
		// The supervisor that decided it died before it could say so.
		e.decideAs(r, Outcome{ID: r.ID, State: last.LastAction.State, Error: last.LastAction.Error})
		return
	}
	if !slices.Contains(Actions(), r.Action) || r.Kind != state.Containers {
		e.decide(r, fmt.Errorf("there is no action %q on %s", r.Action, r.Kind))
		return
	}
	e.actions[r.Key] = append(e.actions[r.Key], r)
	if len(e.actions[r.Key]) == 1 {
		e.beginAction(r)
	}
}

func (e *Executor) beginAction(r Request) {
	e.store.SetAction(r.Key, &state.Action{Request: r.ID, Action: r.Action, RequestedAt: r.RequestedAt})
	e.beside(func(ctx context.Context) func() {
		err := e.act(ctx, r)
		if e.ctx.Err() != nil {
			return nil // the next supervisor decides
		}
		return func() { e.endAction(r, err) }
	})
}

func (e *Executor) endAction(r Request, err error) {
	if errors.Is(err, errWithdrawn) {
		delete(e.accepted, r.ID)
		e.store.SetAction(r.Key, nil)
	} else {
		last := state.LastAction{
			Request: r.ID, Action: r.Action, State: state.ActionSucceeded,
			RequestedAt: r.RequestedAt, CompletedAt: time.Now().UTC(),
		}
		if err != nil {
			last.State, last.Error = state.ActionFailed, err.Error()
		}
		e.store.SetLastAction(r.Key, &last)
		e.decide(r, err)
	}
	queue := e.actions[r.Key][1:]
	if len(queue) == 0 {
		delete(e.actions, r.Key)
		return
	}
	e.actions[r.Key] = queue
	e.beginAction(queue[0])
}

// errWithdrawn says that a request was withdrawn before it was begun.
var errWithdrawn = errors.New("the request was withdrawn")

func (e *Executor) act(ctx context.Context, r Request) error {
	it, before, err := e.find(ctx, r.Key)
	if err != nil {
		return err
	}
	defer it.Close()
	if r.Sent {
		if e.turnsOut(ctx, r) {
			return nil
		}
		return fmt.Errorf("the supervisor ended while it asked the engine to %s it: whether that was done is not known", r.Action)
	}
	if err := e.begin(r); err != nil {
		return err
	}
	todo, err := plan(r.Action, before.state)
	if err != nil || !todo {
		return err
	}
	// Recorded before the action is sent: it tells afterwards whether it was done.
	r.Sent, r.StartedBefore = true, before.startedAt
	if err := files.ReplaceJSON(e.file(r.ID, extBegun), r); err != nil {
		return fmt.Errorf("request %q can't be sent: %w", r.ID, err)
	}
	call, cancel := context.WithTimeout(ctx, actionTimeout+before.stopTimeout)
	defer cancel()
	stop := e.source.Doubting()
	err = it.order(call, r.Key, r.Action)
	stop()
	// Who waits for the outcome finds its effect in the mirror. A start that failed leaves its reason
	// and an exit code without an event.
	looked, cancelLook := context.WithTimeout(ctx, seenTimeout)
	defer cancelLook()
	_ = e.source.Look(looked, state.Containers, r.Key)
	if err == nil || !ambiguous(err) {
		return err
	}
	if e.turnsOut(ctx, r) {
		return nil
	}
	return fmt.Errorf("the engine did not say how it ended: %w", endpoint.WithoutURL(err))
}

// begin makes it impossible to withdraw the request.
func (e *Executor) begin(r Request) error {
	if r.begun {
		return nil
	}
	err := Begin(e.dir, r)
	if errors.Is(err, os.ErrNotExist) {
		return errWithdrawn
	}
	return err
}

// turnsOut reports whether an action that was sent turns out to be done, now or within the time
// that it may take. It waits for the engine until ctx ends.
func (e *Executor) turnsOut(ctx context.Context, r Request) bool {
	for began := time.Now(); ; {
		it, now, err := e.find(ctx, r.Key)
		if err != nil {
			return false
		}
		_ = it.Close()
		switch {
		case achieved(r.Action, r.StartedBefore, now):
			return true
		case time.Since(began) > e.patience+now.stopTimeout:
			return false
		}
		if pause.For(ctx, lookDelay) != nil {
			return false
		}
	}
}

// ambiguous reports whether a failed call may have been carried out.
func ambiguous(err error) bool {
	return client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

type seen struct {
	state       string
	startedAt   time.Time
	stopTimeout time.Duration
}

// errHangs says that the engine answers, but not for the container, such as while it holds a lock, or
// where it fails at it each time.
var errHangs = errors.New("the engine does not say how the container is, and answers otherwise")

// find looks at a container, waiting for the engine until ctx ends. The caller closes
// the engine.
func (e *Executor) find(ctx context.Context, id string) (engine, seen, error) {
	for began := (time.Time{}); ; {
		it, err := e.reach(ctx)
		if err != nil {
			return nil, seen{}, err
		}
		if began.IsZero() {
			began = time.Now()
		}
		c, err := e.look(ctx, it, id)
		if err == nil {
			return it, c, nil
		}
		answers := ambiguous(err) && e.ping(ctx, it) == nil
		_ = it.Close()
		switch {
		case !ambiguous(err):
			return nil, seen{}, err
		case !answers:
			began = time.Time{}
		case time.Since(began) >= e.looking:
			return nil, seen{}, errHangs
		}
		if err := pause.For(ctx, lookDelay); err != nil {
			return nil, seen{}, err
		}
	}
}

func (e *Executor) look(ctx context.Context, it engine, id string) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, e.looking)
	defer cancel()
	defer e.source.Doubting()()
	return it.look(ctx, id)
}

// plan returns whether an action has anything to do in a state of the container, or why it is
// not possible. It is the same for all engines.
func plan(action, in string) (todo bool, err error) {
	type answer int
	const (
		no answer = iota
		yes
		done
	)
	table := map[string]map[string]answer{
		ActionStart: {
			state.StateCreated: yes, state.StateExited: yes,
			state.StateRunning: done, state.StateRestarting: done,
		},
		ActionStop: {
			state.StateRunning: yes, state.StatePaused: yes, state.StateRestarting: yes,
			state.StateCreated: done, state.StateExited: done, state.StateDead: done,
		},
		ActionPause:   {state.StateRunning: yes, state.StatePaused: done},
		ActionUnpause: {state.StatePaused: yes, state.StateRunning: done},
		ActionRestart: {
			state.StateCreated: yes, state.StateRunning: yes, state.StatePaused: yes,
			state.StateRestarting: yes, state.StateExited: yes,
		},
	}
	switch table[action][in] {
	case yes:
		return true, nil
	case done:
		return false, nil
	}
	return false, fmt.Errorf("can't %s a container that is %s", action, in)
}

// achieved reports whether a container is as the action leaves it: after a start, it was last
// started at another time than startedBefore, which is later if the clock was set back.
func achieved(action string, startedBefore time.Time, now seen) bool {
	switch action {
	case ActionStart, ActionRestart:
		// Containerd does not always tell when; where it runs, the start of one that did not was done.
		if now.startedAt.IsZero() {
			return action == ActionStart && now.state == state.StateRunning
		}
		return !now.startedAt.Equal(startedBefore)
	case ActionStop:
		return now.state == state.StateExited || now.state == state.StateCreated || now.state == state.StateDead
	case ActionPause:
		return now.state == state.StatePaused
	case ActionUnpause:
		return now.state == state.StateRunning
	}
	return false
}
