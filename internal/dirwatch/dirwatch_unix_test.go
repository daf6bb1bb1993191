//go:build unix

package dirwatch

import (
	"syscall"
	"testing"
	"time"
)

// A directory that could not be watched is, once the system's limit allows that.
func TestFollowAfterLimit(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	f := Follow(dir, time.Millisecond, nil)
	defer f.Close()
	polls := f.watch == nil
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !polls {
		t.Fatal("there is a watch in spite of the limit")
	}
	if err := f.Wait(t.Context()); err != nil || f.watch == nil {
		t.Errorf("no watch: %v, %v", err, f.err)
	}
}
