package board

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker-rd/docker-rd/client"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
	"github.com/docker-rd/docker-rd/requests"
)

// Actions on objects of any kind. Those of package requests are for containers.
const (
	ActionDelete = "delete"
	ActionCancel = "cancel" // cancels a deletion that the engine refuses
)

// actTimeout bounds an action.
const actTimeout = time.Minute

// Act asks the supervisor of an instance for an action on an object and waits for the outcome, as
// [client.Request]. A deletion that the engine refuses goes on: that shows on the object.
func (b Board) Act(ctx context.Context, name string, kind state.Kind, key, action string) error {
	i, err := instance.Load(b.Roots, name)
	if err != nil {
		return err
	}
	s, err := state.Read(i.Paths.StateFile())
	if err != nil {
		return err
	}
	r, err := request(s, kind, key, action)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	r.First = true
	o, err := client.Request(ctx, i, r)
	switch {
	case err != nil:
	case o.State == state.ActionSucceeded, o.State == requests.OutcomeCancelled, o.State == requests.OutcomeRefused:
	default:
		err = errors.New(o.Error)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", action, r.Name, err)
	}
	return nil
}

// Start starts an instance, as [client.Start].
func (b Board) Start(ctx context.Context, name string) error {
	i, err := instance.Load(b.Roots, name)
	if err == nil {
		_, err = client.Start(ctx, i, client.StartOptions{})
	}
	return err
}

// Stop stops an instance, as [client.Stop].
func (b Board) Stop(ctx context.Context, name string) error {
	i, err := instance.Load(b.Roots, name)
	if err == nil {
		_, err = client.Stop(ctx, i, client.StopOptions{})
	}
	return err
}

func request(s *state.State, kind state.Kind, key, action string) (requests.Request, error) {
	switch {
	case action == ActionDelete:
		return requests.Delete(s, kind, key)
	case action == ActionCancel:
		r, err := requests.Delete(s, kind, key)
		r.Type = requests.RequestCancel
		return r, err
	case kind != state.Containers:
		return requests.Request{}, failure.Refuse("%q can't be done to %s", action, kind)
	}
	c, ok := s.Containers[key]
	if !ok {
		return requests.Request{}, failure.Refuse("no container %q", key)
	}
	return requests.Request{Type: requests.RequestAction, Kind: kind, Key: key, Name: c.Name, Action: action}, nil
}
