package state_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func numbered(revision int) string {
	return fmt.Sprintf(`{"schemaVersion":1,"revision":%d,"containers":{}}`, revision)
}

// follow follows in the background and returns what is yielded.
func follow(t *testing.T, path string) <-chan any {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan any), make(chan struct{})
	go func() {
		defer close(done)
		for s, err := range state.Follow(ctx, path) {
			var v any = err
			if err == nil {
				v = s.Revision
			}
			select {
			case out <- v:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return out
}

func next(t *testing.T, c <-chan any) any {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is yielded")
		return nil
	}
}

// until receives until the revision comes: changes may be yielded as one, never
// backwards.
func until(t *testing.T, c <-chan any, revision uint64) {
	t.Helper()
	for {
		v := next(t, c)
		r, ok := v.(uint64)
		if !ok || r > revision {
			t.Fatalf("got %v on the way to %d", v, revision)
		}
		if r == revision {
			return
		}
	}
}

func TestFollow(t *testing.T) {
	for name, dir := range map[string]string{"directory": "", "no directory": "later"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), dir, "state.json")
			c := follow(t, path)
			if err, ok := next(t, c).(error); !ok || !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("missing file: %v", err)
			}
			if dir != "" {
				if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			put(t, path, numbered(1))
			until(t, c, 1)
			for i := 2; i <= 50; i++ {
				put(t, path, numbered(i))
			}
			until(t, c, 50)
			put(t, path, "torn")
			if err, ok := next(t, c).(error); !ok || !errors.Is(err, state.ErrCorrupt) {
				t.Errorf("torn file: %v", err)
			}
			put(t, path, numbered(51))
			until(t, c, 51)
			wine.Skip(t)
			// A directory with a file that is open, such as a lock, does not say that it is removed.
			held, err := files.OpenFile(filepath.Join(filepath.Dir(path), "lock"), os.O_CREATE|os.O_RDWR)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			if err, ok := next(t, c).(error); !ok || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("removed: %v", err)
			}
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, path, numbered(52))
			until(t, c, 52)
		})
	}
}

func TestFollowEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	put(t, path, numbered(1))
	for range state.Follow(t.Context(), path) {
		break // nothing hangs, nothing is left behind
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for range state.Follow(ctx, path) {
		n++
		cancel()
	}
	if n != 1 {
		t.Errorf("%d states", n)
	}
}
