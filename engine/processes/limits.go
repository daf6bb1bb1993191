package processes

import "fmt"

// Limits bound what an engine and its containers use together; 0 is no limit.
type Limits struct {
	Memory   int64 // bytes, of the containers; of the engine too if it is a containerd
	NanoCPUs int64 // billionths of a processor, of the engine too
	Pids     int64 // processes and threads of the containers; the engine's are what ends them
}

// A LimitError says that the system can't keep to a limit.
type LimitError struct {
	Controller string // memory, cpu or pids: the control group's part that does it
	Err        error
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("control groups: %s: %v", e.Controller, e.Err)
}
func (e *LimitError) Unwrap() error { return e.Err }
