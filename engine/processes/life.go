package processes

import "errors"

// ErrRunning says that an engine runs already: it can be adopted.
var ErrRunning = errors.New("the engine is running already")

// Life is how much of an engine runs.
type Life int

const (
	Gone      Life = iota // nothing
	Leftovers             // some of its processes, but not the engine itself
	Alive                 // the engine, with or without a supervisor
)
