package instance

import (
	"errors"
	"fmt"
)

// Errors for [errors.Is].
var (
	// ErrNotExist says that an instance does not exist.
	ErrNotExist = errors.New("no such instance")
	// ErrNoDriver says that no driver makes engines on this system.
	ErrNoDriver = errors.New("no driver can make an engine")
	// ErrNoEngine says that the engine to adopt is not named.
	ErrNoEngine = errors.New("needs the engine to adopt")
	// ErrTwoEngines says that two engines to adopt are named.
	ErrTwoEngines = errors.New("are two engines")
)

// A NotExistError says that there is no instance of a name. It matches [ErrNotExist].
type NotExistError struct{ Name string }

func (e *NotExistError) Error() string { return fmt.Sprintf("instance %q: %v", e.Name, ErrNotExist) }
func (e *NotExistError) Unwrap() error { return ErrNotExist }

// A DamagedError says that an instance's settings can't be read, or are lost.
type DamagedError struct {
	Path   string
	Err    error     // why; not unwrapped: lost settings do not mean that the instance does not exist
	Backup *Instance // the copy: enough to stop and remove it; nil if that is lost, too
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("instance file %q is damaged: %v", e.Path, e.Err)
}
