package mounts

import "fmt"

// A BusyError says that something is mounted in a directory that is to be removed.
type BusyError struct{ Point string }

// Check returns a [*BusyError] if something is mounted at or below dir.
func Check(dir string) error {
	points, err := Below(dir)
	if err == nil && len(points) > 0 {
		err = &BusyError{Point: points[0]}
	}
	return err
}

func (e *BusyError) Error() string { return fmt.Sprintf("something is mounted at %q", e.Point) }
