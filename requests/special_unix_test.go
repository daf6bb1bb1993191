//go:build !windows

package requests_test

import (
	"syscall"
	"testing"
)

// special makes a file that can't be read: whoever opens it waits for a writer.
func special(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
