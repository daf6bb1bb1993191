//go:build !windows

package claim

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

var one, two = Owner{UID: "u1", Context: "rd"}, Owner{UID: "u2", Context: "rd-two"}

// killVar makes the test binary claim a path and die at a point.
const killVar = "CLAIM_KILL"

func TestMain(m *testing.M) {
	if point := os.Getenv(killVar); point != "" {
		fault = func(at string) {
			if at == point {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		dir := os.Args[1]
		_, _ = bookIn(dir).Make(context.Background(), one, dir+"/engine", []string{dir + "/default"}, nil, up)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func bookIn(dir string) Book {
	return Book{File: filepath.Join(dir, "state", "sockets.json"), Lock: filepath.Join(dir, "state", "sockets.lock")}
}

func up() bool { return true }

type fixture struct {
	Book
	t            *testing.T
	path, engine string
}

func setup(t *testing.T) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rd") // sockets' paths are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fixture{bookIn(dir), t, filepath.Join(dir, "default"), filepath.Join(dir, "engine")}
	f.listen(f.engine)
	return f
}

// listen makes a socket on which somebody listens until the test ends.
func (f *fixture) listen(path string) net.Listener {
	f.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = l.Close() })
	return l
}

// dead makes a socket on which nobody listens.
func (f *fixture) dead(path string) {
	f.t.Helper()
	l := f.listen(path)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
}

func (f *fixture) make(owner Owner) Result {
	f.t.Helper()
	results, err := f.Make(f.t.Context(), owner, f.engine, []string{f.path}, nil, up)
	if err != nil {
		f.t.Fatal(err)
	}
	return results[0]
}

func (f *fixture) end(owner Owner, want ...string) {
	f.t.Helper()
	ended, err := f.End(f.t.Context(), owner)
	if err != nil || !slices.Equal(ended, want) {
		f.t.Errorf("End = %q, %v, want %q", ended, err, want)
	}
}

// wantFiles checks what is beside the engine's socket and the record.
func (f *fixture) wantFiles(want ...string) {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != "engine" && e.Name() != "state" {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("there is %q, want %q", got, want)
	}
}

func TestClaim(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(f *fixture)
		err     error // why it is not claimed
	}{
		{name: "nothing", prepare: func(*fixture) {}},
		{name: "nobody listens", prepare: func(f *fixture) { f.dead(f.path) }},
		{name: "link to nothing", prepare: func(f *fixture) { _ = os.Symlink("/nonexistent/s", f.path) }},
		{name: "what a killed process left", prepare: func(f *fixture) { _ = os.Symlink("/nonexistent/s", f.path+tempSuffix) }},
		{name: "somebody listens", prepare: func(f *fixture) { f.listen(f.path) }, err: ErrInUse},
		{name: "a link to somebody who listens", prepare: func(f *fixture) { _ = os.Symlink(f.engine, f.path) }, err: ErrInUse},
		{name: "a file", prepare: func(f *fixture) { _ = os.WriteFile(f.path, nil, 0o600) }, err: ErrInUse},
		{name: "a directory", prepare: func(f *fixture) { _ = os.Mkdir(f.path, 0o700) }, err: ErrInUse},
		{name: "no directory", prepare: func(f *fixture) { f.path = filepath.Join(f.path, "none", "s") }, err: fs.ErrNotExist},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := setup(t)
			tc.prepare(f)
			before, _ := os.Lstat(f.path)
			if r := f.make(one); !errors.Is(r.Err, tc.err) || r.Changed != (tc.err == nil) {
				t.Fatalf("Make = %+v, want %v", r, tc.err)
			}
			if tc.err != nil {
				after, _ := os.Lstat(f.path)
				if before != nil && !os.SameFile(before, after) {
					t.Errorf("it was %v and is %v", before, after)
				}
				if o, ok := f.Find(f.path); ok {
					t.Errorf("it is %v's claim", o)
				}
				f.end(one)
				return
			}
			if o, ok := f.Find(f.path); !ok || o != one {
				t.Errorf("Find = %v, %v", o, ok)
			}
			if conn, err := net.Dial("unix", f.path); err != nil {
				t.Error(err)
			} else {
				_ = conn.Close()
			}
			if r := f.make(one); r.Err != nil || r.Changed || r.By != one {
				t.Errorf("once more, Make = %+v", r)
			}
			if r := f.make(two); !errors.Is(r.Err, ErrInUse) || r.By != one {
				t.Errorf("for another owner, Make = %+v", r)
			}
			f.end(two)
			f.wantFiles("default")
			f.end(one, f.path)
			f.wantFiles()
		})
	}
}

// What was free at a first look counts if it is so still; what was not is looked at anew.
func TestFirstLook(t *testing.T) {
	for _, tc := range []struct {
		name          string
		before, after func(f *fixture)
		err           error
	}{
		{name: "free still", before: func(*fixture) {}, after: func(*fixture) {}},
		{name: "taken", before: func(*fixture) {}, after: func(f *fixture) { f.listen(f.path) }, err: ErrInUse},
		{name: "replaced", before: func(f *fixture) { f.dead(f.path) }, after: func(f *fixture) { _ = os.Remove(f.path) }, err: ErrInUse},
		{name: "freed", before: func(f *fixture) { _ = os.Symlink(f.engine, f.path) }, after: func(f *fixture) { _ = os.Remove(f.path) }},
	} {
		f := setup(t)
		tc.before(f)
		first := LookAt([]string{f.path})
		tc.after(f)
		results, err := f.Make(t.Context(), one, f.engine, []string{f.path}, first, up)
		if err != nil || !errors.Is(results[0].Err, tc.err) || results[0].Changed != (tc.err == nil) {
			t.Errorf("%s: Make = %+v, %v", tc.name, results, err)
		}
	}
}

func TestNotUp(t *testing.T) {
	f := setup(t)
	results, err := f.Make(t.Context(), one, f.engine, []string{f.path}, nil, func() bool { return false })
	if err != nil || !errors.Is(results[0].Err, ErrNotUp) {
		t.Errorf("Make = %+v, %v", results, err)
	}
	f.wantFiles()
}

// An engine that starts in the very moment of the claim keeps its socket.
func TestEngineComesMeanwhile(t *testing.T) {
	for _, dead := range []bool{false, true} {
		f := setup(t)
		if dead {
			f.dead(f.path)
		}
		fault = func(point string) {
			if point == "recorded" {
				_ = os.Remove(f.path) // as dockerd does
				f.listen(f.path)
			}
		}
		r := f.make(one)
		fault = func(string) {}
		if !errors.Is(r.Err, ErrInUse) {
			t.Errorf("Make = %+v", r)
		}
		if info, err := os.Lstat(f.path); err != nil || info.Mode()&fs.ModeSocket == 0 || !answers(f.path) {
			t.Errorf("the engine's socket is %v (%v)", info, err)
		}
		f.wantFiles("default")
		f.end(one)
	}
}

// An engine that starts later takes the socket, and keeps it after the claim has ended.
func TestEngineComesLater(t *testing.T) {
	f := setup(t)
	if r := f.make(one); r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := os.Remove(f.path); err != nil {
		t.Fatal(err)
	}
	f.listen(f.path)
	if held, err := f.Holds(one); err != nil || len(held) > 0 {
		t.Errorf("Holds = %q, %v", held, err)
	}
	f.end(one)
	if !answers(f.path) {
		t.Error("the engine's socket is gone")
	}
}

// A link that looks like ours and is not.
func TestSomebodyElsesLink(t *testing.T) {
	f := setup(t)
	if r := f.make(one); r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := os.Symlink(f.engine, f.path+".theirs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.path+".theirs", f.path); err != nil {
		t.Fatal(err)
	}
	f.end(one)
	f.wantFiles("default")
}

func TestFindThroughLinks(t *testing.T) {
	f := setup(t)
	if r := f.make(one); r.Err != nil {
		t.Fatal(r.Err)
	}
	dir := filepath.Dir(f.path)
	if err := errors.Join(os.Symlink(".", filepath.Join(dir, "sub")), os.Symlink("sub/default", filepath.Join(dir, "far"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/sub/default", dir + "/far", dir + "/sub/far"} {
		if o, ok := f.Find(path); !ok || o != one {
			t.Errorf("Find(%q) = %v, %v", path, o, ok)
		}
	}
	for _, path := range []string{f.engine, dir + "/none"} {
		if o, ok := f.Find(path); ok {
			t.Errorf("Find(%q) = %v", path, o)
		}
	}
}

// Killed anywhere, the claim can be made again, and ended.
func TestKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{"recorded", "placed"} {
		for _, again := range []bool{false, true} {
			f := setup(t)
			f.dead(f.path)
			cmd := exec.Command(self, filepath.Dir(f.path))
			cmd.Env = append(os.Environ(), killVar+"="+point)
			if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
				t.Fatalf("it was not killed: %v", err)
			}
			owners, err := f.Owners()
			if err != nil || !slices.Equal(owners, []Owner{one}) {
				t.Errorf("Owners = %v, %v", owners, err)
			}
			if again {
				if r := f.make(one); r.Err != nil {
					t.Errorf("%s: Make = %+v", point, r)
				}
			}
			if point == "recorded" && !again {
				f.end(one)
				f.wantFiles("default") // the dead one
			} else {
				f.end(one, f.path)
				f.wantFiles()
			}
		}
	}
}

// With nothing claimed, nothing is written.
func TestNothing(t *testing.T) {
	f := setup(t)
	f.end(one)
	if _, err := os.Stat(filepath.Dir(f.File)); err == nil {
		t.Error("ending nothing made a directory")
	}
	if o, ok := (Book{}).Find(f.path); ok {
		t.Errorf("Find = %v", o)
	}
	if _, err := (Book{}).End(t.Context(), one); err != nil {
		t.Error(err)
	}
}
