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
	asked, err := requestsFor(s, kind, key, action)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	for _, r := range asked {
		if err := ask(ctx, i, r); err != nil {
			return fmt.Errorf("%s %q: %w", action, r.Name, err)
		}
	}
	return nil
}

func ask(ctx context.Context, i *instance.Instance, r requests.Request) error {
	r.First = true
	o, err := client.Request(ctx, i, r)
	switch {
	case err != nil:
		return err
	case o.State == state.ActionSucceeded, o.State == requests.OutcomeCancelled, o.State == requests.OutcomeRefused:
		return nil
	}
	return errors.New(o.Error)
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

func requestsFor(s *state.State, kind state.Kind, key, action string) ([]requests.Request, error) {
	switch {
	case action == ActionDelete:
		r, err := requests.Delete(s, kind, key)
		return []requests.Request{r}, err
	case action == ActionCancel:
		return cancellations(s, kind, key)
	case kind != state.Containers:
		return nil, failure.Refuse("%q can't be done to %s", action, kind)
	}
	c, ok := s.Containers[key]
	if !ok {
		return nil, failure.Refuse("no container %q", key)
	}
	return []requests.Request{{Type: requests.RequestAction, Kind: kind, Key: key, Name: c.Name, Action: action}}, nil
}

// cancellations returns a request for each deletion of an object: of an image there may be one for
// each of its references.
func cancellations(s *state.State, kind state.Kind, key string) (all []requests.Request, err error) {
	for _, d := range s.Deletions() {
		if d.Kind != kind || d.ID != key {
			continue
		}
		r := requests.Request{Type: requests.RequestCancel, Kind: kind, Key: key, Name: d.Name}
		if kind == state.Images && d.Name != key {
			r.Reference = d.Name
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, failure.Refuse("no deletion of %q is requested", key)
	}
	return all, nil
}
