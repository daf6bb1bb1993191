package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/wine"
)

// holdEnv makes the test binary a process that holds a lock until its standard input
// ends.
const holdEnv = "LOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		release, err := TryAcquire(path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		release()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hold starts another process that holds the lock. Closing the returned pipe makes it
// release the lock and end.
func hold(t *testing.T, path string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q", line)
	}
	return cmd, stdin
}

func TestHeldByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	cmd, stdin := hold(t, path)

	_, err := TryAcquire(path)
	held, ok := errors.AsType[*HeldError](err)
	if !ok || !errors.Is(err, ErrHeld) {
		t.Fatalf("TryAcquire = %v, want a HeldError", err)
	}
	if held.Holder.PID != cmd.Process.Pid || time.Since(held.Holder.Since) > time.Hour {
		t.Errorf("holder is %+v, want pid %d, now", held.Holder, cmd.Process.Pid)
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("pid %d (%s)", cmd.Process.Pid, filepath.Base(os.Args[0]))) {
		t.Errorf("the error does not say who: %v", err)
	}
	if got, err := Held(path); err != nil || !got {
		t.Errorf("Held = %v, %v", got, err)
	}

	acquired := make(chan error, 1)
	go func() {
		release, err := Acquire(t.Context(), path)
		if err == nil {
			for { // the description comes a moment later
				h, err := ReadHolder(path)
				if err != nil || h.PID != 0 && h.PID != os.Getpid() {
					t.Errorf("holder is %+v, %v", h, err)
				}
				if err != nil || h.PID != 0 {
					break
				}
				time.Sleep(retryDelay)
			}
			release()
		}
		acquired <- err
	}()
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-acquired; err != nil {
		t.Errorf("Acquire after the release: %v", err)
	}
	if got, err := Held(path); err != nil || got {
		t.Errorf("Held after the release = %v, %v", got, err)
	}
	if h, err := ReadHolder(path); err != nil || h != (Holder{}) {
		t.Errorf("holder of a free lock is %+v, %v", h, err)
	}
}

func TestReleasedByDeath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	cmd, _ := hold(t, path)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	release, err := Acquire(t.Context(), path)
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	// Its lock may have outlived its first thread. What it has left does not describe the next holder.
	if h, err := ReadHolder(path); err != nil || h.PID != cmd.Process.Pid && runtime.GOOS != "windows" {
		t.Errorf("before it is waited for, the holder is %+v, %v", h, err)
	}
	_ = cmd.Wait()
	if h, err := ReadHolder(path); err != nil || h != (Holder{}) {
		t.Errorf("after its end, the holder is %+v, %v", h, err)
	}
	release()
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the lock file was replaced")
	}
	if mode := after.Mode().Perm(); mode != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode is %o", mode)
	}
}

func TestAcquireGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	release, err := TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	ctx = WithBlocked(ctx, func(*HeldError) { cancel() })
	if _, err := Acquire(ctx, path); !errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire, cancelled while it waits = %v", err)
	}
}

// Whoever has no time left knows nothing of the lock.
func TestAcquireTooLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, acquire := range map[string]func(context.Context, string) (func(), error){"Acquire": Acquire, "AcquireShared": AcquireShared} {
		if _, err := acquire(ctx, path); errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a free lock with a cancelled context = %v, want only the context's error", name, err)
		}
	}
}

func TestWithBlocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	synctest.Test(t, func(t *testing.T) {
		release, err := TryAcquire(path)
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan *HeldError, 2)
		ctx := WithBlocked(t.Context(), func(e *HeldError) {
			told <- e
			release()
		})
		releaseNext, err := Acquire(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		releaseNext()
		if e := <-told; e.Path != path || e.Holder.PID != os.Getpid() || !errors.Is(e, ErrHeld) {
			t.Errorf("told of %v", e)
		}
		releaseNext, err = Acquire(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * patience)
		releaseNext()
		if len(told) > 0 {
			t.Error("told of a lock that was free")
		}
	})
}

// A lock that is held for a moment changes nothing in its file, which lies in a directory
// that others watch.
func TestMomentIsSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	synctest.Test(t, func(t *testing.T) {
		release, err := Acquire(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		release()
		info, err := os.Stat(path)
		if err != nil || info.Size() != 0 {
			t.Errorf("after a moment: %v, %v", info, err)
		}
		if release, err = Acquire(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(patience)
		if h, err := ReadHolder(path); err != nil || h.PID != os.Getpid() {
			t.Errorf("after a while the holder is %+v, %v", h, err)
		}
		release()
		if h, err := ReadHolder(path); err != nil || h != (Holder{}) {
			t.Errorf("holder of a free lock is %+v, %v", h, err)
		}
		time.Sleep(patience) // nothing is written late
	})
}

// Two locks of one process exclude each other as those of two processes do.
func TestExcludesWithinProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	var inside atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				release, err := Acquire(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if !inside.CompareAndSwap(false, true) {
					t.Error("two hold the lock")
				}
				inside.Store(false)
				release()
			}
		})
	}
	wg.Wait()
}

func TestShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	one, err := AcquireShared(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	two, err := AcquireShared(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	one()
	if _, err := TryAcquire(path); !errors.Is(err, ErrHeld) {
		t.Errorf("TryAcquire beside a share = %v", err)
	}
	two()
	release, err := TryAcquire(path)
	if err != nil {
		t.Fatalf("after the last share: %v", err)
	}
	release()
}

// Who asks must not look like a holder to who wants the lock.
func TestHeldDoesNotDisturb(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_, _ = Held(path)
				}
			}
		})
	}
	for range 50 {
		release, err := TryAcquire(path)
		if err != nil {
			t.Errorf("a free lock: %v", err)
			break
		}
		release()
	}
	close(done)
	wg.Wait()
}

func TestHeldMakesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	if got, err := Held(path); got || err != nil {
		t.Errorf("Held of a missing file = %v, %v", got, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file was made: %v", err)
	}
}

// Who waited for a lock that its holder has removed takes the new one: the old one is
// seen by nobody else.
func TestRemovedWhileWaiting(t *testing.T) {
	wine.Skip(t)
	path := filepath.Join(t.TempDir(), "lock")
	tries := 0
	f, err := take(t.Context(), path, openLock(path), func(ctx context.Context, f lockFile) (bool, error) {
		ok, err := waitLock(exclusive)(ctx, f)
		if tries++; tries == 1 {
			if err := files.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		return ok, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if held, err := Held(path); err != nil || !held || tries != 2 {
		t.Errorf("after %d tries the lock is held: %v, %v", tries, held, err)
	}
}

// What is removed with its directory while somebody waits for it is not made again.
func TestRemovedForGood(t *testing.T) {
	wine.Skip(t)
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lock")
	release, err := TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithBlocked(t.Context(), func(*HeldError) {
		if err := files.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		release()
	})
	if _, err := Acquire(ctx, path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Acquire = %v, want that it does not exist", err)
	}
	for name, acquire := range map[string]func() error{
		"TryAcquire":    func() error { _, err := TryAcquire(path); return err },
		"AcquireShared": func() error { _, err := AcquireShared(t.Context(), path); return err },
	} {
		if err := acquire(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s = %v, want that it does not exist", name, err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there again: %v", err)
	}
}

// A holder whose file was removed does not spoil what the next one says of itself.
func TestRemovedWhileHeld(t *testing.T) {
	wine.Skip(t)
	path := filepath.Join(t.TempDir(), "lock")
	old, err := TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	gone := Gone(path)
	if gone() {
		t.Error("the file counts as gone while it is there")
	}
	if err := files.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !gone() {
		t.Error("the removed file does not count as gone")
	}
	release, err := TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if !gone() || Gone(path)() {
		t.Error("the new file counts as the old one")
	}
	old()
	if holder, err := ReadHolder(path); err != nil || holder.PID != os.Getpid() {
		t.Errorf("the holder is %+v, %v", holder, err)
	}
}

// Who comes while a holder removes the lock with its directory either has the new one or
// hears that there is none.
func TestDirectoryRemovedBeside(t *testing.T) {
	wine.Skip(t)
	path := filepath.Join(t.TempDir(), "dir", "lock")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				_ = os.Mkdir(filepath.Dir(path), 0o700)
				release, err := Acquire(t.Context(), path)
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if err := files.RemoveAll(filepath.Dir(path)); err != nil && !files.IsNotEmpty(err) {
					t.Error(err) // not empty: the next one has made its lock
				}
				release()
			}
		})
	}
	group.Wait()
}
