package logfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write := func() {
		t.Helper()
		file, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString("x"); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	write()
	write()
	if got := size(t, path); got != 2 {
		t.Errorf("%d bytes, want both", got)
	}
	if got := size(t, Rotated(path)); got >= 0 {
		t.Errorf("of a small log %d bytes are rotated", got)
	}
	for range 2 { // the second time there is a copy already
		if err := os.Truncate(path, Max); err != nil {
			t.Fatal(err)
		}
		write()
		if now, rotated := size(t, path), size(t, Rotated(path)); now != 1 || rotated != Max {
			t.Errorf("%d bytes and a copy of %d, want 1 and %d", now, rotated, Max)
		}
	}
}

// A log whose writer never opens it again stays bounded, and the writer goes on in it.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write := func(text string) {
		t.Helper()
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Keep(ctx, func(err error) { t.Error(err) }, filepath.Join(filepath.Dir(path), "missing"), path)
		}()
		for _, text := range []string{strings.Repeat("a", Max), strings.Repeat("b", 2*Max), "c"} {
			synctest.Wait() // it looks while nobody writes
			write(text)
			time.Sleep(interval + interval/2) // of the test's own clock
		}
		cancel()
		<-ended
	})
	rotated, err := os.ReadFile(Rotated(path))
	if err != nil || string(rotated) != strings.Repeat("b", 2*Max) {
		t.Errorf("%d bytes are copied, %v", len(rotated), err)
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != "c" {
		t.Errorf("the log has %d bytes, %v", len(now), err)
	}
}

// Where it can't be copied, a log is emptied all the same: it must not fill the disk.
func TestRotateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, Max); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(Rotated(path), "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Rotate(path); err == nil || !strings.Contains(err.Error(), Rotated(path)) {
		t.Errorf("Rotate = %v", err)
	}
	if got := size(t, path); got != 0 {
		t.Errorf("the log has %d bytes", got)
	}
}
