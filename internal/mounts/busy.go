package mounts

import "fmt"

// A BusyError says that something is mounted where files are to be removed. It is not
// theirs, and must not be lost with them.
type BusyError struct{ Point string }

func (e *BusyError) Error() string { return fmt.Sprintf("something is mounted at %q", e.Point) }
