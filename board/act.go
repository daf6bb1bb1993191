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

// Act asks the supervisor of an instance for an action on an object and waits for the outcome,
// except for deletions, whose outcome shows on the object.
func Act(ctx context.Context, roots instance.Roots, name string, kind state.Kind, key, action string) error {
	if err := instance.CheckName(name); err != nil {
		return err
	}
	i, err := instance.Load(roots, name)
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
	if r.Type == requests.RequestDelete {
		return client.Ask(i, r)
	}
	o, err := client.Request(ctx, i, r)
	if err == nil && o.State != state.ActionSucceeded && o.State != requests.OutcomeCancelled {
		err = errors.New(o.Error)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", action, r.Name, err)
	}
	return nil
}

// request returns the request for an action.
func request(s *state.State, kind state.Kind, key, action string) (requests.Request, error) {
	r := requests.Request{Type: requests.RequestAction, Kind: kind, Key: key, Name: key, Action: action}
	there := false
	switch kind {
	case state.Containers:
		var c state.Container
		c, there = s.Containers[key]
		r.Name = c.Name
	case state.Images:
		_, there = s.Images[key]
	case state.Volumes:
		var v state.Volume
		v, there = s.Volumes[key]
		r.CreatedAt = v.CreatedAt
	case state.Networks:
		var n state.Network
		n, there = s.Networks[key]
		r.Name = n.Name
		if requests.OwnNetwork(s.Engine, n.Name) {
			return r, failure.Refuse("network %q is the engine's own", n.Name)
		}
	}
	if !there {
		return r, failure.Refuse("no object %q of kind %s", key, kind)
	}
	switch action {
	case ActionDelete:
		r.Type, r.Action = requests.RequestDelete, ""
		return r, nil
	case ActionCancel:
		r.Type, r.Action = requests.RequestCancel, ""
		return r, nil
	}
	if kind != state.Containers {
		return r, failure.Refuse("%q can't be done to %s", action, kind)
	}
	return r, nil
}
