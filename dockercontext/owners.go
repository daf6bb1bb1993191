package dockercontext

import (
	"slices"

	"github.com/docker-rd/docker-rd/dockercontext/claim"
	"github.com/docker-rd/docker-rd/internal/endpoint"
)

// An Owner is an instance with its context. The zero Owner is for instances that use a foreign
// context.
type Owner = claim.Owner

// An EngineState is the state of an owner's engine.
type EngineState int

// The states of engines.
const (
	// NoInstance: there is no such instance, or not any more.
	NoInstance EngineState = iota
	// Up: the engine answers, and its context may become the current one.
	Up
	// Away: it is starting, restarting, unresponsive, or its state is unknown.
	Away
	// Gone: it is down, and nothing will start it again.
	Gone
)

// Owners looks up docker rd's instances for a [Config]. Its methods are called by several
// goroutines, and under the promotion lock.
type Owners interface {
	// State returns the state of the owner's engine: Away if the settings can't be read.
	State(Owner) EngineState
	// All returns the instances that use the configuration and have a context of their own. It
	// does not wait long for a single one, whose file system may hang, but leaves it out. After
	// an error nothing is known of any.
	All() ([]OwnerInfo, error)
}

// An OwnerInfo describes an owner. One whose settings can't be read has no UID and is known by
// its context.
type OwnerInfo struct {
	Owner
	State EngineState
	// Successor says that its context may become the current one unasked.
	Successor bool
	// Endpoint is the engine's, if it is Up.
	Endpoint endpoint.Endpoint
	// Socket is the path of the local socket of an engine that is Up, or "".
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

// gone reports whether the owner's engine is down for good, or has no instance any more.
func (c *Config) gone(o Owner) bool {
	s := c.o.Owners.State(o)
	return s == Gone || s == NoInstance
}

// successors returns the owners whose contexts can replace owner's.
func (c *Config) successors(owner Owner) []OwnerInfo {
	instances, err := c.o.Owners.All()
	if err != nil {
		return nil // then nobody is known to run
	}
	return slices.DeleteFunc(slices.Clone(instances), func(i OwnerInfo) bool {
		return i.State != Up || !i.Successor || i.Context == "" || i.Owner == owner
	})
}
