//go:build linux

package instance

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/session"
)

func TestDefaultRoots(t *testing.T) {
	all := map[string]string{HomeEnv: "", "HOME": "/home/me", "XDG_STATE_HOME": "", "XDG_DATA_HOME": "", "XDG_RUNTIME_DIR": "/x"}
	for name, tc := range map[string]struct {
		env  map[string]string
		want Roots
	}{
		"home":         {nil, Roots{"/home/me/.local/state/docker-rd", "/home/me/.local/share/docker-rd", "/x/docker-rd"}},
		"all together": {map[string]string{HomeEnv: "/rd"}, Roots{"/rd/state", "/rd/data", "/rd/run"}},
		"xdg":          {map[string]string{"XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"}, Roots{"/s/docker-rd", "/d/docker-rd", "/x/docker-rd"}},
		"relative, to be ignored": {map[string]string{"XDG_STATE_HOME": "s", "XDG_DATA_HOME": "./d"},
			Roots{"/home/me/.local/state/docker-rd", "/home/me/.local/share/docker-rd", "/x/docker-rd"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, env := range []map[string]string{all, tc.env} {
				for k, v := range env {
					t.Setenv(k, v)
				}
			}
			if got, err := DefaultRoots(); err != nil || got != tc.want {
				t.Errorf("DefaultRoots = %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

// A service may have no HOME; the system's list of users has.
func TestDefaultRootsWithoutHome(t *testing.T) {
	t.Setenv(HomeEnv, "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "")
	got, err := DefaultRoots()
	if err != nil || !filepath.IsAbs(got.State) {
		t.Errorf("DefaultRoots = %+v, %v", got, err)
	}
	t.Setenv("HOME", "here")
	if _, err := DefaultRoots(); failure.Code(err) != failure.CodeRefused || !strings.Contains(err.Error(), `"here"`) {
		t.Errorf("a relative HOME: %v, want it refused", err)
	}
}

// The directory of root's session goes when root logs out, and the engine goes on.
func TestRuntimeOutlivesSession(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user's sockets are in the session's directory")
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(HomeEnv, "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", u.HomeDir)
	for _, session := range []string{"/run/user/0", "/run/user/1000/", "relative", ""} {
		t.Setenv("XDG_RUNTIME_DIR", session)
		if got, err := DefaultRoots(); err != nil || got.Runtime != "/run/docker-rd" {
			t.Errorf("XDG_RUNTIME_DIR=%q: %q, %v, want /run/docker-rd", session, got.Runtime, err)
		}
	}
	// Under another home the instances are others.
	t.Setenv("HOME", "/home/me")
	mine, err := DefaultRoots()
	if err != nil || !strings.HasPrefix(mine.Runtime, "/run/docker-rd-") {
		t.Errorf("another home: %q, %v, want a directory of its own", mine.Runtime, err)
	}
	t.Setenv("HOME", "/home/you")
	if yours, err := DefaultRoots(); err != nil || yours.Runtime == mine.Runtime {
		t.Errorf("two homes share %q, %v", yours.Runtime, err)
	}
}

// macOS has no directories for sockets, and removes those in its temporary ones after three days.
func TestRuntimeOnMacOS(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := runtimeRoot("darwin", "/s/docker-rd"); got != "/s/docker-rd/run" && !strings.HasPrefix(got, session.RuntimeDirs) {
		t.Errorf("%q, want a directory beside the state", got)
	}
}

// Root makes nothing in the home of a user whose environment sudo has kept.
func TestRootsOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for root")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1, 1); err != nil {
		t.Fatal(err)
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(HomeEnv, "")
	t.Setenv("HOME", dir)
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "not", "there"))
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("XDG_RUNTIME_DIR", dir)
	want := Roots{filepath.Join(u.HomeDir, ".local/state/docker-rd"), filepath.Join(u.HomeDir, ".local/share/docker-rd"), "/run/docker-rd"}
	if got, err := DefaultRoots(); err != nil || got != want {
		t.Errorf("DefaultRoots = %+v, %v, want %+v", got, err, want)
	}
}

// What fits into no JSON or no URL would be another path when it is read again.
func TestRootsCheck(t *testing.T) {
	good := Roots{"/s", "/d d", "/ünï"}
	if err := good.Check("/c"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"/a\nb", "/a\xffb"} {
		if err := good.Check(bad); failure.Code(err) != failure.CodeRefused {
			t.Errorf("Docker configuration %q: %v, want a refusal", bad, err)
		}
		if err := (Roots{bad, "/d", "/r"}).Check("/c"); failure.Code(err) != failure.CodeRefused {
			t.Errorf("state %q: %v, want a refusal", bad, err)
		}
	}
}
