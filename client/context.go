package client

import (
	"context"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/instance/contexts"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// remakeContext makes the context of a running instance if the user has removed it or led it elsewhere,
// or if it could not be made before, and waits until the supervisor has seen that. A failure shows in
// the condition, as at any start.
func remakeContext(ctx context.Context, i *instance.Instance, driver engine.Driver) {
	isLost := func(o instance.Observation) bool { return o.Condition(state.ContextReady).Status == state.False }
	if !isLost(instance.Observe(i)) {
		return
	}
	docker, err := contexts.Config(i)
	if err != nil {
		return
	}
	ep, err := driver.Endpoint()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, contexts.Timeout)
	defer cancel()
	if docker.Create(ctx, contexts.Owner(i), ep, contexts.Description(i)).Reason == state.ReasonCreated {
		_ = Follow(ctx, i, func(o instance.Observation) (bool, error) { return isLost(o), nil })
	}
}
