package instance

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// An Observation is an instance as seen from outside, at one moment.
type Observation struct {
	// State is the head of the state file, without objects. It is nil if there is no file, or
	// if that can't be read, for StateErr.
	State    *state.State
	StateErr error
	// Supervised says that there is a supervisor, or that this can't be determined, and Holder how it
	// describes itself.
	Supervised bool
	Holder     lock.Holder
	// Live says that the process that wrote State is alive: only then its conditions count.
	Live bool
}

// Observe reads an instance's files and processes. It changes nothing.
func Observe(i *Instance) Observation {
	var o Observation
	o.State, o.StateErr = state.ReadHead(i.Paths.StateFile())
	if errors.Is(o.StateErr, fs.ErrNotExist) {
		o.StateErr = nil
	}
	if held, err := lock.Held(i.Paths.SupervisorLock()); err != nil || held {
		o.Supervised = true
		o.Holder, _ = lock.ReadHolder(i.Paths.SupervisorLock())
	}
	o.Live = Live(o.State)
	return o
}

// Condition returns a condition: Unknown if no supervisor keeps it up to date.
func (o Observation) Condition(typ string) state.Condition {
	if !o.Live {
		return state.Condition{Type: typ, Status: state.Unknown, Reason: state.ReasonNoSupervisor, Message: "no supervisor runs"}
	}
	c, _ := o.State.Condition(typ)
	return c
}

// Live reports whether the process that wrote the state is alive, and was not killed.
func Live(s *state.State) bool {
	if s == nil || s.Supervisor == nil {
		return false
	}
	id := SupervisorID(s.Supervisor)
	return id.Alive() && !id.Dying()
}

// SupervisorID returns the process that a state names.
func SupervisorID(s *state.Supervisor) process.ID {
	return process.ID{PID: s.PID, StartTime: s.StartTicks, BootID: s.BootID}
}

// Connector returns what connects to the instance's engine, at the endpoint that at returns.
func (i *Instance) Connector(at func() (endpoint.Endpoint, error)) mirror.Connector {
	return mirror.Connector{
		Endpoint:   at,
		Rootless:   i.Settings.Driver == DriverRootless,
		Containerd: i.Settings.Engine == KindContainerd,
		Data:       i.Paths.Data,
		Run:        filepath.Join(i.Paths.Exec(), "containerd"),
	}
}

// Describe returns the state's description of the instance, with the engine at host.
func (i *Instance) Describe(host string) state.Instance {
	return state.Instance{
		UID:          i.UID,
		Name:         i.Name,
		Driver:       i.Settings.Driver,
		Engine:       i.Settings.Engine,
		Context:      i.Context(),
		ContextOwned: i.OwnsContext(),
		Host:         host,
		CreatedAt:    i.CreatedAt,
	}
}
