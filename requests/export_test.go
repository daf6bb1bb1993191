package requests

import "time"

// SetPatience is how long an action is looked after that was sent and not answered.
func (e *Executor) SetPatience(d time.Duration) { e.patience = d }

// Queued returns how many actions on the container are not decided.
func (e *Executor) Queued(id string) int { return len(e.actions[id]) }
