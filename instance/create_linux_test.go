package instance

import (
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Where no instance can be written, the error says that this is why.
func TestCreateNowhere(t *testing.T) {
	roots := testRoots(t)
	roots.State = "/sys/docker-rd" // where not even root can make a directory
	_, _, err := Create(t.Context(), New(roots, "a", t.TempDir(), Settings{}))
	if !strings.Contains(failure.Hint(err), "a directory that can be written") {
		t.Errorf("Create: %v, want that it can't be written", err)
	}
}
