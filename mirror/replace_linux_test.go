package mirror

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The displaced file is free once nobody reads it any more.
func TestLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := lease(writer, time.Now()); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("with the file open elsewhere the error is %v, want %v", err, unix.EAGAIN)
	}
	leased := make(chan error)
	go func() { leased <- lease(writer, time.Now().Add(time.Minute)) }()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-leased; err != nil {
		t.Errorf("the file is free, but %v", err)
	}
}
