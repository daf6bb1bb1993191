package instance

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// An instance that can't be looked at, as on a file system that fails, is there: its context must not
// be given back as if it were gone.
func TestNamesUnreadable(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	roots := testRoots(t)
	create(t, roots, "a")
	for dir := filepath.Dir(roots.instanceDir("a")); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	type found struct {
		names []string
		err   error
	}
	done := make(chan found)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := unix.Setfsuid(12345); err != nil {
			t.Error(err)
		}
		names, err := Names(roots)
		done <- found{names, err}
	}()
	if f := <-done; f.err != nil || !slices.Equal(f.names, []string{"a"}) {
		t.Errorf("Names = %q, %v", f.names, f.err)
	}
}
