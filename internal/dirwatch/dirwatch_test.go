package dirwatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/wine"
)

func TestWait(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	w := FollowAll(func() []string { return []string{one, two} }, time.Minute, func(cause error) { t.Error(cause) })
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
}

// One that goes, or comes, before the watch has begun is not missed.
func TestFollowAll(t *testing.T) {
	dir := t.TempDir()
	there, gone := filepath.Join(dir, "there"), filepath.Join(dir, "gone")
	calls := 0
	w := FollowAll(func() []string {
		switch calls++; calls {
		case 1:
			return []string{dir, gone}
		case 2:
			if err := os.Mkdir(there, 0o700); err != nil {
				t.Fatal(err)
			}
			return []string{dir}
		}
		return []string{dir, there}
	}, time.Minute, func(cause error) { t.Error(cause) })
	defer w.Close()
	if err := os.WriteFile(filepath.Join(there, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(t.Context()); err != nil || calls != 5 { // the last after the change
		t.Errorf("Wait = %v after %d calls", err, calls)
	}
}

// A directory that comes, goes and comes again is followed, by polling where need be.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	var polled []error
	f := Follow(dir, time.Millisecond, func(cause error) { polled = append(polled, cause) })
	defer f.Close()
	changes := func(what string, seen func() bool) {
		t.Helper()
		for !seen() {
			if err := f.Wait(t.Context()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	for range 2 {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		changes("a watch", func() bool { return f.watch != nil })
		wine.Skip(t)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		changes("no watch", func() bool { return f.watch == nil })
	}
	if len(polled) != 3 {
		t.Errorf("polling began for %v, want three times", polled)
	}
}

// A watch that has ended is not waited for, nor asked again and again.
func TestFollowWatchThatEnds(t *testing.T) {
	f := Follow(t.TempDir(), time.Millisecond, nil)
	defer f.Close()
	_ = f.watch.Close()
	if err := f.Wait(t.Context()); err != nil || f.watch == nil {
		t.Fatalf("no other watch: %v, %v", err, f.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := f.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing changes, but Wait returned %v", err)
	}
}
