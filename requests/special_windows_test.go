package requests_test

import (
	"os"
	"testing"
)

// special makes a directory, which can't be read as a file.
func special(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
