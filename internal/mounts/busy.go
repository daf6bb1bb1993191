package mounts

import "fmt"

// A BusyError says that something is mounted in a directory that is to be removed.
type BusyError struct{ Point string }

func (e *BusyError) Error() string { return fmt.Sprintf("something is mounted at %q", e.Point) }
