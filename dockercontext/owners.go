package dockercontext

import (
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// An Owner is an instance with its context. Instances that use somebody else's context
// own none: the zero Owner.
type Owner = claim.Owner

// An EngineState says how an instance's engine is, as far as contexts are concerned.
type EngineState int

// The states of engines.
const (
	// NoInstance: the owner is no instance of ours, or not any more.
	NoInstance EngineState = iota
	// Up: the engine answers, and its context may become the current one.
	Up
	// Away: it is starting, restarting, unresponsive, or nobody can tell.
	Away
	// Gone: it is down, and nobody is going to start it again.
	Gone
)

// Owners answers what a [Config] has to know of docker rd's instances. Its methods are
// called by several goroutines, and also under the promotion lock.
type Owners interface {
	// State returns how the owner's engine is. An instance whose settings can't be read
	// is Away.
	State(Owner) EngineState
	// All returns the instances that use the configuration and have a context of their
	// own. It does not wait for long for what belongs to single instances, such as a file
	// system that hangs: one of which that can't be found out is left out. The
	// error says that nothing is known of any.
	All() ([]OwnerInfo, error)
}

// An OwnerInfo is what a [Config] has to know of one owner. One that can't be read has
// no uid; its context's name counts then.
type OwnerInfo struct {
	Owner
	State EngineState
	// Successor says that its context may become the current one without being asked for.
	Successor bool
	// Endpoint is where the engine is reached, if it is Up.
	Endpoint endpoint.Endpoint
	// Socket is the path of the local socket that leads to the engine, if it is Up; "" where
	// there is none.
	Socket      string
	Description string // of its context
}

func (i OwnerInfo) owns(o Owner) bool {
	return i.Context == o.Context && (i.UID == o.UID || i.UID == "")
}

// noOwners is for a [Config] without instances.
type noOwners struct{}

func (noOwners) State(Owner) EngineState   { return NoInstance }
func (noOwners) All() ([]OwnerInfo, error) { return nil, nil }

// known reports whether an instance of ours is the owner.
func (c *Config) known(o Owner) bool { return c.o.Owners.State(o) != NoInstance }

// gone reports whether the owner's engine is down for good. One that no instance has any
// more is.
func (c *Config) gone(o Owner) bool {
	s := c.o.Owners.State(o)
	return s == Gone || s == NoInstance
}

// successors returns whose contexts can take the place of owner's.
func (c *Config) successors(owner Owner) []OwnerInfo {
	instances, err := c.o.Owners.All()
	if err != nil {
		return nil // then nobody is known to run
	}
	return slices.DeleteFunc(slices.Clone(instances), func(i OwnerInfo) bool {
		return i.State != Up || !i.Successor || i.Context == "" || i.Owner == owner
	})
}
