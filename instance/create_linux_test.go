package instance

import (
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// Who has no place for an instance is told how to choose one.
func TestCreateNowhere(t *testing.T) {
	roots := testRoots(t)
	roots.State = "/sys/docker-rd" // where not even root can make a directory
	_, _, err := Create(t.Context(), New(roots, "a", t.TempDir(), Settings{}))
	if err == nil || !strings.Contains(failure.Hint(err), HomeEnv) {
		t.Errorf("Create: %v, hint %q", err, failure.Hint(err))
	}
}
