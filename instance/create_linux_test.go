package instance

import (
	"errors"
	"testing"
)

// Where no instance can be written, the error says that this is why.
func TestCreateNowhere(t *testing.T) {
	roots := testRoots(t)
	roots.State = "/sys/docker-rd" // where not even root can make a directory
	_, _, err := Create(t.Context(), New(roots, "a", t.TempDir(), Settings{}))
	if _, ok := errors.AsType[*UnwritableError](err); !ok {
		t.Errorf("Create: %v, want that it can't be written", err)
	}
}
