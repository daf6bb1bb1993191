package instance

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/dockercontext"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/machine"
	"github.com/docker-rd/docker-rd/internal/process"
	"github.com/docker-rd/docker-rd/lock"
)

func testRoots(t *testing.T) Roots {
	dir := t.TempDir()
	return Roots{State: filepath.Join(dir, "state"), Data: filepath.Join(dir, "data"), Runtime: filepath.Join(dir, "run")}
}

func create(t *testing.T, roots Roots, name string) *Instance {
	t.Helper()
	s, err := with(t, "host=unix:///x.sock")
	if err != nil {
		t.Fatal(err)
	}
	i, created, err := Create(t.Context(), New(roots, name, t.TempDir(), s))
	if err != nil || !created {
		t.Fatalf("Create = %v, %v", created, err)
	}
	return i
}

func TestCheckName(t *testing.T) {
	for name, good := range map[string]bool{
		"default": true, "a": true, "0": true, "a-1": true, strings.Repeat("a", 31): true,
		"": false, "-a": false, "A": false, "a_b": false, "a/b": false, "..": false, "a\n": false, "é": false, strings.Repeat("a", 32): false,
	} {
		if err := CheckName(name); (err == nil) != good || !good && failure.Code(err) != failure.CodeRefused {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

func TestCreateTwice(t *testing.T) {
	roots := testRoots(t)
	first := create(t, roots, "a")
	again, created, err := Create(t.Context(), New(roots, "a", first.DockerConfig, first.Settings))
	if err != nil || created || again.UID != first.UID {
		t.Errorf("the second Create = %+v, %v, %v, want the first instance", again, created, err)
	}
	loaded, err := Load(roots, "a")
	if err != nil || loaded.UID != first.UID || loaded.Paths != first.Paths {
		t.Errorf("Load = %+v, %v, want %+v", loaded, err, first)
	}
}

// An instance of the same name that is being removed is waited for, and then made anew.
func TestCreateBesideRemoval(t *testing.T) {
	roots := testRoots(t)
	old := create(t, roots, "a")
	release, err := lock.TryAcquire(old.Paths.StateLock())
	if err != nil {
		t.Fatal(err)
	}
	ctx := lock.WithBlocked(t.Context(), func(*lock.HeldError) {
		if err := old.removeState(); err != nil {
			t.Error(err)
		}
		release()
	})
	i, created, err := Create(ctx, New(roots, "a", old.DockerConfig, old.Settings))
	if err != nil || !created || i.UID == old.UID {
		t.Errorf("Create = %+v, %v, %v, want a new instance", i, created, err)
	}
	if loaded, err := Load(roots, "a"); err != nil || loaded.UID != i.UID {
		t.Errorf("Load = %+v, %v", loaded, err)
	}
}

// Settings that are changed while the instance is removed do not come back, not even in part.
func TestUpdateBesideRemoval(t *testing.T) {
	roots := testRoots(t)
	i := create(t, roots, "a")
	other, err := Load(roots, "a")
	if err != nil {
		t.Fatal(err)
	}
	removed := make(chan error, 1)
	err = other.Update(t.Context(), func(s *Settings) error {
		go func() { removed <- i.Remove() }()
		select {
		case err := <-removed:
			t.Errorf("it was removed meanwhile: %v", err)
			removed <- nil
		case <-time.After(50 * time.Millisecond): // it waits, or would have come far
		}
		s.Promote = "never"
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(i.Paths.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is left: %v", i.Paths.State, err)
	}
}

// Where an instance can't be made, nothing of it is.
func TestCreateFails(t *testing.T) {
	roots := testRoots(t)
	roots.Data = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(roots.Data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	i := New(roots, "a", t.TempDir(), Settings{})
	if _, created, err := Create(t.Context(), i); err == nil || created {
		t.Fatalf("Create = %v, %v", created, err)
	}
	if _, err := os.Lstat(i.Paths.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%q is left: %v", i.Paths.State, err)
	}
}

func TestUpdate(t *testing.T) {
	roots := testRoots(t)
	i := create(t, roots, "a")
	before, err := os.Stat(i.Paths.InstanceFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Update(t.Context(), func(*Settings) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(i.Paths.InstanceFile()); err != nil || !os.SameFile(before, after) {
		t.Errorf("no change was written: %v", err)
	}
	refused := errors.New("no")
	if err := i.Update(t.Context(), func(s *Settings) error { s.Promote = dockercontext.PromoteNever; return refused }); !errors.Is(err, refused) {
		t.Errorf("Update = %v, want what the change said", err)
	}
	if loaded, err := Load(roots, "a"); err != nil || loaded.Settings.Promote != dockercontext.PromoteIfBroken || i.Settings.Promote != dockercontext.PromoteIfBroken {
		t.Errorf("a refused change was made: %+v, %v", loaded, err)
	}
	if err := i.Update(t.Context(), func(s *Settings) error { s.Promote = dockercontext.PromoteNever; return nil }); err != nil {
		t.Fatal(err)
	}
	if loaded, err := Load(roots, "a"); err != nil || loaded.Settings.Promote != dockercontext.PromoteNever {
		t.Errorf("a change was not made: %+v, %v", loaded, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(string) string
		want  string
	}{
		"damaged":         {func(s string) string { return s[:len(s)/2] }, "is damaged"},
		"empty":           {func(string) string { return "" }, "is damaged"},
		"not one":         {func(string) string { return "{}" }, "is damaged"},
		"a copy":          {func(s string) string { return strings.Replace(s, `"name": "a"`, `"name": "b"`, 1) }, `is that of instance "b"`},
		"newer":           {func(s string) string { return strings.Replace(s, `"schemaVersion": 1`, `"schemaVersion": 2`, 1) }, "schema version 2"},
		"another machine": {func(s string) string { return strings.Replace(s, `"id": "`, `"id": "other-`, 1) }, "another machine"},
	} {
		t.Run(name, func(t *testing.T) {
			roots := testRoots(t)
			path := create(t, roots, "a").Paths.InstanceFile()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			spoilt := tc.spoil(string(data))
			if spoilt == string(data) {
				t.Fatal("nothing is spoilt")
			}
			if err := os.WriteFile(path, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = Load(roots, "a")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load = %v, want %q in it", err, tc.want)
			}
			if names, err := Names(roots); err != nil || len(names) != 1 {
				t.Errorf("Names = %q, %v: it must be listed all the same", names, err)
			}
		})
	}
	if _, err := Load(testRoots(t), "a"); !errors.Is(err, ErrNotExist) {
		t.Errorf("Load of none = %v", err)
	}
}

// What was written last is enough to stop and remove an instance whose file is damaged or
// lost, and to bring it back. It must not be made anew: an engine may run.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"missing": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			roots := testRoots(t)
			i := create(t, roots, "a")
			if err := i.Update(t.Context(), func(s *Settings) error { s.Promote = dockercontext.PromoteNever; return nil }); err != nil {
				t.Fatal(err)
			}
			if err := damage(i.Paths.InstanceFile()); err != nil {
				t.Fatal(err)
			}
			_, err := Load(roots, "a")
			damaged, ok := errors.AsType[*DamagedError](err)
			if !ok || errors.Is(err, ErrNotExist) || damaged.Backup == nil {
				t.Fatalf("Load = %v, want that it is damaged, with its copy", err)
			}
			if b := damaged.Backup; b.UID != i.UID || b.Paths != i.Paths || b.Settings.Promote != dockercontext.PromoteNever {
				t.Errorf("the copy is %+v, want %+v", b, i)
			}
			if names, err := Names(roots); err != nil || len(names) != 1 {
				t.Errorf("Names = %q, %v", names, err)
			}
			if _, _, err := Create(t.Context(), New(roots, "a", i.DockerConfig, i.Settings)); !errors.As(err, &damaged) {
				t.Errorf("Create = %v, want that it is damaged", err)
			}
			if err := damaged.Backup.Remove(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(i.Paths.State); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after Remove: %v", err)
			}
		})
	}
}

// An engine that runs in this boot runs on this machine, whatever its id is by now.
func TestMachineIDChanges(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only on Linux are there engines of ours")
	}
	roots := testRoots(t)
	i := create(t, roots, "a")
	i.Settings = DefaultSettings()
	i.Settings.Driver = DriverDockerd
	i.Machine.ID = "another"
	if err := i.write(); err != nil {
		t.Fatal(err)
	}
	_, err := Load(roots, "a")
	if !strings.Contains(failure.Hint(err), machine.Current().ID) {
		t.Errorf("Load = %v, want that it is of another machine", err)
	}
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(map[string]any{"uid": i.UID, "engine": self})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(i.Paths.EngineState(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(i.Paths.EngineState(), "engine.json"), record, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(roots, "a"); err != nil {
		t.Errorf("while the engine runs here: %v", err)
	}
}

func TestRemove(t *testing.T) {
	roots := testRoots(t)
	i := create(t, roots, "a")
	if err := os.WriteFile(filepath.Join(i.Paths.Data, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{i.Paths.State, i.Paths.Data, i.Paths.Runtime} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", dir, err)
		}
	}
}

// Who comes while an instance is removed finds it, or finds that there is none, but never a
// damaged one.
func TestRemoveBesideOthers(t *testing.T) {
	roots := testRoots(t)
	for range 100 {
		i := create(t, roots, "a")
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for {
				if _, err := Load(roots, "a"); err != nil && !errors.Is(err, ErrNotExist) {
					t.Errorf("Load: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
		if err := i.Remove(); err != nil {
			t.Error(err)
		}
		close(done)
		group.Wait()
		if err := i.Update(t.Context(), func(*Settings) error { return nil }); !errors.Is(err, ErrNotExist) {
			t.Errorf("Update: %v", err)
		}
	}
}

// Settings that could not be written are not taken for the instance's.
func TestUpdateThatFails(t *testing.T) {
	i := create(t, testRoots(t), "a")
	before := i.Settings
	if err := os.Mkdir(i.Paths.InstanceBackup()+".x", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(i.Paths.InstanceBackup()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(i.Paths.InstanceBackup()+".x", i.Paths.InstanceBackup()); err != nil { // can't be written
		t.Fatal(err)
	}
	err := i.Update(t.Context(), func(s *Settings) error { s.Promote = dockercontext.PromoteNever; return nil })
	if err == nil {
		t.Fatal("it was written")
	}
	if !i.Settings.Equal(before) {
		t.Errorf("the settings are %+v", i.Settings)
	}
}
