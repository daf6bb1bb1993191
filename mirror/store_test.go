package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/test/mirrortest"
	"github.com/docker-rd/docker-rd/internal/test/stateschema"
	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/lock"
	"github.com/docker-rd/docker-rd/mirror"
	"github.com/docker-rd/docker-rd/mirror/state"
)

func openStore(t *testing.T, dir string) *mirror.Store {
	t.Helper()
	s, err := mirror.OpenStore(filepath.Join(dir, "state.json"), filepath.Join(dir, "state.lock"), mirrortest.Instance(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func flush(t *testing.T, s *mirror.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir string) *state.State {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stateschema.Validate(content); err != nil {
		t.Errorf("state file: %v", err)
	}
	s, err := state.Parse(dir, content)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(s *mirror.Store, c ...mirror.Change) { s.Apply(mirror.Update{Changes: c}) }

func gone(keys ...string) (all []mirror.Gone) {
	for _, key := range keys {
		all = append(all, mirror.Gone{Key: key})
	}
	return all
}

func containers(ids ...string) (objects []any) {
	for _, id := range ids {
		objects = append(objects, state.Container{ID: id, Name: "name of " + id, State: state.StateCreated, Labels: map[string]string{"<&>": "\u2028\"\\"}})
	}
	return objects
}

func TestStoreRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	now := time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("x", 3600))
	s.SetSupervisor(&state.Supervisor{PID: 7, BootID: "b", Version: "v"})
	s.SetEngineProcess(9, now)
	s.SetCondition(state.Ready, state.False, state.ReasonStarting, "")
	s.Apply(mirror.Update{
		Engine: &state.Engine{ID: "e", Version: "1", APIVersion: "1.47", OS: "linux", Arch: "arm64", Rootless: true},
		Sync:   &mirror.Sync{Connected: true, Status: state.True, Reason: state.ReasonSynced, SyncedAt: now, Resyncs: 3},
		Events: 12,
		Changes: []mirror.Change{
			{Kind: state.Containers, Objects: []any{state.Container{
				ID: "c", Name: "n", State: state.StateExited, CreatedAt: now.UTC(), Args: []string{"a"}, Ports: []state.Port{{ContainerPort: 80, Protocol: "tcp"}},
				LastAction: &state.LastAction{Action: "start", State: state.ActionFailed},
			}}},
			{Kind: state.Images, Objects: []any{state.Image{ID: "i", RepoTags: []string{"t"}, Deletions: map[string]state.Deletion{"t": {Error: "in use"}}}}},
			{Kind: state.Volumes, Objects: []any{state.Volume{Name: "a \"strange\" name\n\u2028\x7f", Options: map[string]string{"o": "x"}}}},
			{Kind: state.Networks, Objects: []any{state.Network{ID: "n", Name: "ü", Subnets: []string{"10.0.0.0/8"}}}},
			{Kind: state.Namespaces, Objects: []any{state.Namespace{Name: "moby"}}},
		},
	})
	flush(t, s)
	got := read(t, dir)
	if got.Engine.PID != 9 || !got.Engine.StartedAt.Equal(now) || !got.Engine.Rootless || got.Mirror.Events != 12 {
		t.Errorf("engine %+v, mirror %+v", got.Engine, got.Mirror)
	}
	want := s.Snapshot()
	if diff := cmp.Diff(want, got, cmp.Transformer("json", func(s *state.State) string { return mirrortest.Marshal(t, s) })); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}

	// The next supervisor takes it over as it is.
	next := openStore(t, dir)
	if _, dirty := next.NextFlush(); dirty {
		t.Error("a state that was taken over wants to be written")
	}
	next.SetCondition(state.EngineReady, state.True, state.ReasonConnected, "")
	flush(t, next)
	again := read(t, dir)
	if again.Revision != got.Revision+1 || mirrortest.Marshal(t, again.Containers) != mirrortest.Marshal(t, got.Containers) || mirrortest.Marshal(t, again.Volumes) != mirrortest.Marshal(t, got.Volumes) {
		t.Errorf("after the takeover: %s", mirrortest.Marshal(t, again))
	}
}

func TestStoreWritesOnlyChanges(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a", "b", "c"), Replace: true})
	s.SetCondition(state.Ready, state.True, "R", "m")
	flush(t, s)
	first := read(t, dir)
	quiet := func(what string) {
		t.Helper()
		if _, dirty := s.NextFlush(); dirty {
			t.Errorf("%s wants a write", what)
		}
		flush(t, s)
		if r := read(t, dir).Revision; r != first.Revision {
			t.Errorf("%s was written: revision %d", what, r)
		}
	}
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a", "b", "c"), Replace: true})
	quiet("the same list")
	apply(s, mirror.Change{Kind: state.Containers, Gone: []mirror.Gone{{Key: "x"}}})
	quiet("the end of what is not there")
	s.SetCondition(state.Ready, state.True, "R", "m")
	quiet("the same condition")
	s.Apply(mirror.Update{Events: 99})
	quiet("the count of events")

	apply(s, mirror.Change{Kind: state.Containers, Objects: []any{state.Container{ID: "b", Name: "new", State: state.StateDead}}, Gone: []mirror.Gone{{Key: "c"}}})
	flush(t, s)
	second := read(t, dir)
	if second.Revision != first.Revision+1 || second.Mirror.Events != 99 {
		t.Errorf("revision %d, events %d", second.Revision, second.Mirror.Events)
	}
	for id, want := range map[string]state.Meta{
		"a": {AddedRevision: first.Revision, Revision: first.Revision},
		"b": {AddedRevision: first.Revision, Revision: second.Revision},
	} {
		if got := second.Containers[id].Meta; got != want {
			t.Errorf("%s has %+v, want %+v", id, got, want)
		}
	}
	if d := second.Deleted; len(d) != 1 || d[0].DeletedAt.IsZero() || d[0].ID != "c" || d[0].Kind != state.Containers ||
		d[0].Name != "name of c" || d[0].Revision != second.Revision {
		t.Errorf("the tombstones are %+v", d)
	}
}

// A container that came and went between two looks leaves a tombstone, once.
func TestTombstoneOfTheUnseen(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	flush(t, s)
	for range 2 {
		apply(s, mirror.Change{Kind: state.Containers, Gone: []mirror.Gone{{Key: "c", Name: "job"}}})
	}
	flush(t, s)
	if d := read(t, dir).Deleted; len(d) != 1 || d[0].ID != "c" || d[0].Name != "job" {
		t.Errorf("the tombstones are %+v", d)
	}
}

// So does one that is missing in a list, by its name.
func TestTombstoneOfTheMissing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a", "b"), Replace: true})
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a"), Replace: true})
	flush(t, s)
	if d := read(t, dir).Deleted; len(d) != 1 || d[0].ID != "b" || d[0].Name != "name of b" {
		t.Errorf("the tombstones are %+v", d)
	}
}

// The revisions of an instance that was made anew are none of the former's, so that whoever
// resumes from one of those starts over.
func TestRevisionsOfAnotherLife(t *testing.T) {
	last := func(created time.Time) *state.State {
		dir := t.TempDir()
		inst := mirrortest.Instance()
		inst.CreatedAt = created
		s, err := mirror.OpenStore(filepath.Join(dir, "state.json"), filepath.Join(dir, "state.lock"), inst, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			s.SetEngineProcess(i+1, time.Time{})
			flush(t, s)
		}
		return read(t, dir)
	}
	former, now := last(time.Now().Add(-time.Hour)), last(time.Now())
	for _, revision := range []uint64{former.DeletedSince, former.Revision} {
		if changes := now.Since(revision); len(changes) == 0 || changes[0].Type != state.Resync {
			t.Errorf("since revision %d of the former, of which %d is the last, %d to %d of this one's: %v",
				revision, former.Revision, now.DeletedSince, now.Revision, changes)
		}
	}
}

// A write wakes whoever watches the directory a few times only: a lock that says who holds it
// would make as many notifications again.
func TestNotifications(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	flush(t, s) // also makes the lock file
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	s.SetEngineProcess(7, time.Time{})
	flush(t, s)
	last := filepath.Join(dir, "last")
	if err := os.WriteFile(last, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e := range w.Events {
		if e.Name == last {
			break
		}
		if strings.HasSuffix(e.Name, ".lock") {
			t.Errorf("the lock is written into: %v", e)
		}
		seen++
	}
	// The next version is made, written, exchanged with the old one, and that is removed: each
	// of two renames is told twice.
	if seen > 7 {
		t.Errorf("a write made %d notifications", seen)
	}
}

// A file that can't be written says so beside it, since nothing can be said in it.
func TestStaleMark(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	s := openStore(t, dir)
	flush(t, s)
	if state.Stale(path) {
		t.Error("a good file is marked")
	}
	// What stands in the way of the next version is as good as a full disk.
	obstacle := filepath.Join(dir, ".state.json.tmp", "x")
	if err := os.MkdirAll(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	s.SetEngineProcess(7, time.Time{})
	if err := s.Flush(t.Context()); err == nil {
		t.Fatal("it was written")
	}
	if !state.Stale(path) {
		t.Error("there is no mark")
	}
	if err := os.RemoveAll(filepath.Dir(obstacle)); err != nil {
		t.Fatal(err)
	}
	next := openStore(t, dir) // the next supervisor knows nothing of it
	next.SetEngineProcess(8, time.Time{})
	flush(t, next)
	if state.Stale(path) {
		t.Error("the mark is still there")
	}
}

func TestConditionTransition(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	s.SetCondition(state.EngineReady, state.False, state.ReasonStarting, "")
	a, _ := s.Snapshot().Condition(state.EngineReady)
	s.SetCondition(state.EngineReady, state.False, state.ReasonExited, "why")
	b, _ := s.Snapshot().Condition(state.EngineReady)
	if a.LastTransitionTime != b.LastTransitionTime || b.Reason != state.ReasonExited || b.Message != "why" {
		t.Errorf("same status: %+v, then %+v", a, b)
	}
	for time.Now().Equal(a.LastTransitionTime) {
		runtime.Gosched() // a coarse clock
	}
	s.SetCondition(state.EngineReady, state.True, state.ReasonConnected, "")
	if c, _ := s.Snapshot().Condition(state.EngineReady); !c.LastTransitionTime.After(a.LastTransitionTime) {
		t.Errorf("other status: %+v, then %+v", b, c)
	}
}

// The revision never falls, whatever happens to the file, and the old one is kept.
func TestStoreRebuilds(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"missing": func([]byte) []byte { return nil },
		"empty":   func([]byte) []byte { return []byte{} },
		"torn":    func(data []byte) []byte { return data[:len(data)/2] },
		"newer": func(data []byte) []byte {
			return append([]byte(`{"schemaVersion":2,"revision":77777777777777,`), data[1:]...)
		},
		"other":   func(data []byte) []byte { return []byte(`{"schemaVersion":1,"revision":9,"instance":{"uid":"x"}}`) },
		"garbage": func([]byte) []byte { return []byte("\x00\x00\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "state.json")
			s := openStore(t, dir)
			for i := range 20 {
				apply(s, mirror.Change{Kind: state.Containers, Objects: containers(fmt.Sprint(i))})
				flush(t, s)
			}
			before := read(t, dir).Revision
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(data)
			if damaged == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, damaged, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir)
			flush(t, s)
			after := read(t, dir)
			if after.Revision <= before || name == "newer" && after.Revision <= 77777777777777 {
				t.Errorf("revision went from %d to %d", before, after.Revision)
			}
			if len(after.Containers) != 0 {
				t.Errorf("%d containers came from nowhere", len(after.Containers))
			}
			// Whoever followed the old one starts over.
			if c := after.Since(before); len(c) == 0 || c[0].Type != state.Resync {
				t.Errorf("changes since %d: %+v", before, c)
			}
			kept, err := os.ReadFile(path + ".old")
			if damaged != nil && (err != nil || string(kept) != string(damaged)) {
				t.Errorf("the old one was not kept: %q, %v", kept, err)
			}
		})
	}
}

// A file that was replaced by somebody else, as by a command while the supervisor is
// hung: the revision goes on from theirs.
func TestStoreCatchesUp(t *testing.T) {
	dir := t.TempDir()
	ours := openStore(t, dir)
	flush(t, ours)
	theirs := openStore(t, dir)
	for i := range 5 {
		apply(theirs, mirror.Change{Kind: state.Containers, Objects: containers(fmt.Sprint(i))})
		flush(t, theirs)
	}
	before := read(t, dir).Revision
	apply(ours, mirror.Change{Kind: state.Volumes, Objects: []any{state.Volume{Name: "v"}}})
	flush(t, ours)
	after := read(t, dir)
	if after.Revision <= before {
		t.Errorf("revision went from %d to %d", before, after.Revision)
	}
	if c := after.Since(before); len(c) == 0 || c[0].Type != state.Resync {
		t.Errorf("changes since theirs: %+v", c)
	}
}

func TestStoreClear(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	apply(s,
		mirror.Change{Kind: state.Containers, Objects: containers("a", "b")},
		mirror.Change{Kind: state.Namespaces, Objects: []any{state.Namespace{Name: "moby"}}},
	)
	flush(t, s)
	s.Clear()
	s.SetSupervisor(nil)
	flush(t, s)
	got := read(t, dir)
	if len(got.Containers)+len(got.Namespaces) != 0 || len(got.Deleted) != 3 || got.Deleted[0].Name != "" {
		t.Errorf("after Clear: %s", mirrortest.Marshal(t, got))
	}
}

func TestDeletedIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	flush(t, s)
	start := read(t, dir).Revision
	const n = 3000
	for i := range n {
		id := fmt.Sprint(i)
		apply(s, mirror.Change{Kind: state.Containers, Objects: containers(id)})
		apply(s, mirror.Change{Kind: state.Containers, Gone: gone(id)})
		if i%100 == 99 {
			flush(t, s)
		}
	}
	flush(t, s)
	got := read(t, dir)
	if len(got.Deleted) >= n || got.DeletedSince <= start {
		t.Errorf("%d deleted since %d", len(got.Deleted), got.DeletedSince)
	}
	for _, d := range got.Deleted {
		if d.Revision < got.DeletedSince {
			t.Errorf("%+v is older than %d", d, got.DeletedSince)
		}
	}
	if c := got.Since(start); c[0].Type != state.Resync {
		t.Errorf("since %d: %+v", start, c[0])
	}
	if c := got.Since(got.DeletedSince); len(c) > 0 && c[0].Type == state.Resync {
		t.Errorf("since %d: %+v", got.DeletedSince, c[0])
	}
}

// Where there is an object, one that lacks fields does not replace it.
func TestPartial(t *testing.T) {
	s := openStore(t, t.TempDir())
	apply(s, mirror.Change{Kind: state.Containers, Objects: []any{state.Container{ID: "c", Path: "p"}}})
	apply(s, mirror.Change{Kind: state.Containers, Partial: true, Except: map[string]bool{"gone": true}, Objects: containers("c", "new", "gone")})
	if got := s.Snapshot().Containers; len(got) != 2 || got["c"].Path != "p" || got["new"].ID == "" {
		t.Errorf("got %s", mirrortest.Marshal(t, got))
	}
}

// What a lookup said while the list ran is not undone by the list.
func TestReplaceExcept(t *testing.T) {
	s := openStore(t, t.TempDir())
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a", "b", "c")})
	apply(s, mirror.Change{
		Kind: state.Containers, Replace: true, Except: map[string]bool{"b": true, "d": true},
		Objects: append(containers("a"), state.Container{ID: "d"}),
	})
	got := s.Snapshot().Containers
	if len(got) != 2 || got["a"].ID == "" || got["b"].ID == "" {
		t.Errorf("got %s", mirrortest.Marshal(t, got))
	}
}

// Made anew, an object keeps nothing of the old one.
func TestGoneThenThere(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	apply(s, mirror.Change{Kind: state.Volumes, Objects: []any{state.Volume{Name: "v", Deletion: &state.Deletion{Error: "in use"}}}})
	flush(t, s)
	old := read(t, dir)
	apply(s, mirror.Change{Kind: state.Volumes, Gone: []mirror.Gone{{Key: "v"}}, Objects: []any{state.Volume{Name: "v"}}})
	flush(t, s)
	got := read(t, dir)
	if v := got.Volumes["v"]; v.Deletion != nil || v.AddedRevision != got.Revision {
		t.Errorf("got %s", mirrortest.Marshal(t, v))
	}
	changes := state.Changes(old, got)
	if len(changes) != 2 || changes[0].Type != state.Deletes || changes[1].Type != state.Added {
		t.Errorf("changes: %s", mirrortest.Marshal(t, changes))
	}
}

func TestFlushWaitsForLock(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	release, err := lock.TryAcquire(filepath.Join(dir, "state.lock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Flush(ctx); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("Flush returned %v, want %v", err, lock.ErrHeld)
	}
	if wait, dirty := s.NextFlush(); !dirty || wait == 0 {
		t.Errorf("after a failure: wait %v, dirty %v", wait, dirty)
	}
	release()
	flush(t, s)
	read(t, dir)
}

func TestFlushFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	s, err := mirror.OpenStore(filepath.Join(dir, "state.json"), filepath.Join(t.TempDir(), "state.lock"), mirrortest.Instance(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	apply(s, mirror.Change{Kind: state.Containers, Objects: containers("a")})
	if err := s.Flush(t.Context()); err == nil {
		t.Fatal("Flush into a missing directory succeeded")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if got := read(t, dir); len(got.Containers) != 1 {
		t.Errorf("after the failure: %s", mirrortest.Marshal(t, got))
	}
}

// Readers need no lock: they see one whole state or the next.
func TestReadersSeeWholeStates(t *testing.T) {
	wine.Skip(t)
	dir := t.TempDir()
	s := openStore(t, dir)
	put := func(i int) {
		apply(s,
			mirror.Change{Kind: state.Containers, Objects: containers(fmt.Sprint(i))},
			mirror.Change{Kind: state.Volumes, Objects: []any{state.Volume{Name: fmt.Sprint(i)}}},
		)
		flush(t, s)
	}
	put(0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var last uint64
			for {
				got, err := state.Read(filepath.Join(dir, "state.json"))
				if err != nil {
					t.Error(err)
					return
				}
				if got.Revision < last || len(got.Containers) != len(got.Volumes) {
					t.Errorf("revision %d after %d, %d containers, %d volumes", got.Revision, last, len(got.Containers), len(got.Volumes))
					return
				}
				last = got.Revision
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 100 {
		put(i + 1)
	}
	close(done)
	readers.Wait()
}

// Whatever changes, and whoever reads meanwhile: each version is what the store holds, and
// stays so for who has it open or has kept it under another name.
func TestVersions(t *testing.T) {
	wine.Skip(t)
	for seed := range uint64(3) {
		dir := t.TempDir()
		path := filepath.Join(dir, "state.json")
		s := openStore(t, dir)
		rng := rand.New(rand.NewPCG(seed, 0))
		type kept struct {
			file    *os.File
			content []byte
		}
		var open, linked []kept
		for i := range 200 {
			for range rng.IntN(4) {
				randomChange(s, rng)
			}
			s.SetEngineProcess(i+1, time.Time{}) // so that there is a write
			flush(t, s)
			content, err := files.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := state.Parse(path, content)
			if err != nil {
				t.Fatalf("seed %d, write %d: %v", seed, i, err)
			}
			if i%50 == 0 { // it takes long
				if err := stateschema.Validate(content); err != nil {
					t.Fatalf("seed %d, write %d: %v", seed, i, err)
				}
			}
			if want := s.Snapshot(); mirrortest.Marshal(t, want) != mirrortest.Marshal(t, got) {
				t.Fatalf("seed %d, write %d: the file is not what the store holds", seed, i)
			}
			switch rng.IntN(10) {
			case 0, 1:
				file, err := files.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, kept{file, content})
			case 2:
				link := filepath.Join(dir, fmt.Sprint("link", i))
				if err := os.Link(path, link); err != nil {
					t.Fatal(err)
				}
				linked = append(linked, kept{nil, content})
				defer func() {
					if now, err := os.ReadFile(link); err != nil || !bytes.Equal(now, content) {
						t.Errorf("seed %d: what was kept of write %d is another now (%v)", seed, i, err)
					}
				}()
			case 3, 4:
				if len(open) == 0 {
					break
				}
				k := open[0]
				open = open[1:]
				now, err := io.ReadAll(k.file)
				if err != nil || !bytes.Equal(now, k.content) {
					t.Fatalf("seed %d, write %d: a version that was open is another now (%v)", seed, i, err)
				}
				_ = k.file.Close()
			case 5:
				s = openStore(t, dir) // another supervisor
			}
		}
		for _, k := range open {
			_ = k.file.Close()
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 + len(linked); len(entries) != want { // the state and its lock
			t.Errorf("seed %d: there are %v", seed, entries)
		}
	}
}

func randomChange(s *mirror.Store, rng *rand.Rand) {
	name := func() string { return fmt.Sprintf("%03d", rng.IntN(300)) }
	text := strings.Repeat("x", rng.IntN(400))
	switch rng.IntN(8) {
	case 0, 1, 2:
		apply(s, mirror.Change{Kind: state.Containers, Objects: []any{state.Container{ID: name(), Name: text, State: state.StateRunning, Health: state.HealthNone}}})
	case 3:
		apply(s, mirror.Change{Kind: state.Containers, Gone: []mirror.Gone{{Key: name()}, {Key: name()}}})
	case 4:
		apply(s, mirror.Change{Kind: state.Volumes, Objects: []any{state.Volume{Name: name(), Driver: text}}})
	case 5:
		var all []any
		for range rng.IntN(200) {
			all = append(all, state.Volume{Name: name(), Mountpoint: text})
		}
		apply(s, mirror.Change{Kind: state.Volumes, Objects: all, Replace: rng.IntN(2) == 0})
	case 6:
		s.SetCondition(state.Ready, state.Unknown, "R", text+text)
	case 7:
		if rng.IntN(10) == 0 {
			s.Clear()
		}
	}
}
