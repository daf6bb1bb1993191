package contexts

import (
	"errors"
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// owners implements [dockercontext.Owners].
type owners struct {
	roots instance.Roots
	dir   string // the Docker configuration
}

// State implements [dockercontext.Owners].
func (os owners) State(owner dockercontext.Owner) dockercontext.EngineState {
	i, err := os.find(owner)
	switch {
	case errors.Is(err, instance.ErrNotExist):
		return dockercontext.NoInstance
	case err != nil:
		return dockercontext.Away // damaged, or another machine's
	}
	return stateOf(i)
}

// find returns the instance of an owner. The error matches [instance.ErrNotExist] if there is
// none. Damaged settings are replaced by their copy.
func (os owners) find(owner dockercontext.Owner) (*instance.Instance, error) {
	names, err := instance.Names(os.roots)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(names, func(name string) bool { return instance.ContextName(name) == owner.Context })
	if n < 0 {
		return nil, instance.ErrNotExist
	}
	i, err := instance.Salvage(instance.Load(os.roots, names[n]))
	if err == nil && Owner(i) != owner { // created again, or with the user's context now
		return nil, instance.ErrNotExist
	}
	return i, err
}

func stateOf(i *instance.Instance) dockercontext.EngineState {
	o := instance.Observe(i)
	ready := o.Condition(state.EngineReady)
	switch {
	case ready.Status == state.True:
		return dockercontext.Up
	case o.Supervised && o.Live && ready.Reason == state.ReasonCrashLoop:
		return dockercontext.Gone
	case o.Supervised:
		return dockercontext.Away
	}
	driver, err := engine.DriverFor(i, nil)
	if err != nil || driver.Life() == engine.Alive {
		return dockercontext.Away
	}
	return dockercontext.Gone
}

// All implements [dockercontext.Owners].
func (os owners) All() ([]dockercontext.OwnerInfo, error) {
	names, err := instance.Names(os.roots)
	if err != nil {
		return nil, err
	}
	var all []dockercontext.OwnerInfo
	for _, name := range names {
		i, err := instance.Load(os.roots, name)
		if err != nil {
			// Its context must have an owner all the same.
			owner := dockercontext.Owner{Context: instance.ContextName(name)}
			all = append(all, dockercontext.OwnerInfo{Owner: owner, State: dockercontext.Away})
			continue
		}
		if i.OwnsContext() && UsesConfig(i, os.dir) {
			all = append(all, describe(i))
		}
	}
	return all, nil
}

func describe(i *instance.Instance) dockercontext.OwnerInfo {
	d := dockercontext.OwnerInfo{
		Owner: Owner(i), State: stateOf(i), Description: Description(i),
		Successor: i.Settings.Promote != dockercontext.PromoteNever,
	}
	if d.State != dockercontext.Up {
		return d
	}
	driver, err := engine.DriverFor(i, nil)
	if err == nil {
		d.Endpoint, err = driver.Endpoint()
		d.Socket = engine.LocalSocket(driver)
	}
	if err != nil {
		d.State = dockercontext.Away
	}
	return d
}

// supervised are the owners as one instance's supervisor knows them.
type supervised struct {
	dockercontext.Owners
	self dockercontext.Owner
	up   func() bool
}

// State implements [dockercontext.Owners].
func (s supervised) State(owner dockercontext.Owner) dockercontext.EngineState {
	switch {
	case owner != s.self:
		return s.Owners.State(owner)
	case s.up():
		return dockercontext.Up
	}
	return dockercontext.Away // the supervisor itself decides when it is gone
}
