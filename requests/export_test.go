package requests

import "time"

// SetPatience is how long an action is looked after that was sent and not answered.
func (e *Executor) SetPatience(d time.Duration) { e.patience = d }

// SetLooking is how long the engine may take to say how a container is.
func (e *Executor) SetLooking(d time.Duration) { e.looking = d }

// Queued returns how many actions on the container are not decided.
func (e *Executor) Queued(id string) int { return len(e.actions[id]) }
