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
	// ErrNoHome says that no directory is known for the state.
	ErrNoHome = errors.New("no place for the state")
)

// A NameError says that an instance cannot have a name.
type NameError struct{ Name string }

func (e *NameError) Error() string { return fmt.Sprintf("invalid instance name %q", e.Name) }

// A NotExistError says that there is no instance of a name. It matches [ErrNotExist].
type NotExistError struct{ Name string }

func (e *NotExistError) Error() string { return fmt.Sprintf("instance %q: %v", e.Name, ErrNotExist) }
func (e *NotExistError) Unwrap() error { return ErrNotExist }

// An OtherMachineError says that an instance on a shared home belongs to another machine.
type OtherMachineError struct {
	Name, Host string
	File, ID   string // the instance's file, and this machine's id
}

func (e *OtherMachineError) Error() string {
	return fmt.Sprintf("instance %q belongs to another machine: %q", e.Name, e.Host)
}

// A DamagedError says that an instance's settings can't be read, or are lost.
type DamagedError struct {
	Path   string
	Err    error     // why; not unwrapped: lost settings do not mean that the instance does not exist
	Backup *Instance // the copy: enough to stop and remove it; nil if that is lost, too
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("instance file %q is damaged: %v", e.Path, e.Err)
}

// A NewerError says that a later docker-rd wrote an instance's settings.
type NewerError struct {
	Path           string
	Version, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("instance file %q has schema version %d, this docker-rd knows %d", e.Path, e.Version, e.Known)
}

// An UnwritableError says that the files of a new instance cannot be written.
type UnwritableError struct{ Err error }

func (e *UnwritableError) Error() string { return e.Err.Error() }
func (e *UnwritableError) Unwrap() error { return e.Err }

// A SettingError says that there is no setting of a name.
type SettingError struct{ Name string }

func (e *SettingError) Error() string { return fmt.Sprintf("unknown setting %q", e.Name) }

// A ValueError says that a setting cannot have a value, but one of a few.
type ValueError struct {
	Key, Value string
	Values     []string
}

func (e *ValueError) Error() string {
	return fmt.Sprintf("%s %q is not one that this version has", e.Key, e.Value)
}

// A DriverError says that a setting has no effect with a driver.
type DriverError struct {
	Driver, Setting string
	Drivers         []string // with which it has one
}

func (e *DriverError) Error() string {
	return fmt.Sprintf("driver %q takes no %s", e.Driver, e.Setting)
}
