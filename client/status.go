package client

import (
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// Words that sum up an instance.
const (
	StatusStarting     = "starting"
	StatusReady        = "ready"
	StatusRunning      = "running"
	StatusUnresponsive = "unresponsive"
	StatusUnreachable  = "unreachable"
	StatusRestarting   = "restarting"
	StatusStopping     = "stopping"
	StatusStopped      = "stopped"
	StatusFailed       = "failed"
	StatusUnsupervised = "unsupervised"
	StatusUnusable     = "unusable"
)

// statusOfReason has the words for an engine that a supervisor has and that can't be used, by the
// reason. A supervisor that has just begun has no reason yet.
var statusOfReason = map[state.Reason]string{
	"":                        StatusStarting,
	state.ReasonStarting:      StatusStarting,
	state.ReasonUnresponsive:  StatusUnresponsive,
	state.ReasonConnectFailed: StatusUnreachable,
	state.ReasonExited:        StatusRestarting,
	state.ReasonStopped:       StatusStopping,
	state.ReasonCrashLoop:     StatusFailed,
	state.ReasonFailed:        StatusFailed,
}

// Status sums up an instance in a word.
func Status(o instance.Observation, i *instance.Instance) string {
	switch c := o.Condition(state.EngineReady); {
	case o.Condition(state.Ready).Status == state.True:
		return StatusReady
	case o.Live && c.Status == state.True:
		return StatusRunning // the mirror is not synced
	case LastFailure(o) != nil && (o.Live || Stopped(i)):
		return StatusFailed
	case o.Live:
		return statusOfReason[c.Reason]
	case o.Supervised && !isDying(o):
		return StatusStarting
	case !Stopped(i):
		return StatusUnsupervised
	}
	return StatusStopped
}

// isDying reports whether the holder of the supervisor's lock is the supervisor that wrote the
// state, which was killed: the system ends its threads one after another.
func isDying(o instance.Observation) bool {
	return !o.Live && o.State != nil && o.State.Supervisor != nil && o.State.Supervisor.PID == o.Holder.PID
}
