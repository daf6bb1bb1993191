package dirwatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWait(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	w, err := New(one, two)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	path := filepath.Join(two, "file")
	for _, change := range []func() error{
		func() error { return os.WriteFile(path, []byte("1"), 0o600) },
		func() error {
			return errors.Join(os.WriteFile(path+".new", []byte("2"), 0o600), os.Rename(path+".new", path))
		},
		func() error { return os.Remove(path) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := w.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for { // what is left of the last change may come first
		if err := w.Wait(ctx); errors.Is(err, context.Canceled) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := w.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Wait after Close = %v", err)
	}
}

func TestNewRefusesMissing(t *testing.T) {
	if w, err := New(filepath.Join(t.TempDir(), "none")); err == nil {
		w.Close()
		t.Error("a missing directory is watched")
	}
}
