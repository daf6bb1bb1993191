//go:build !windows

package dockercontext

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/test/endpointtest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// What root makes in a user's configuration is the user's; what else lies there, and
// where his links lead, stays whose it is.
func TestCreateAsRootForUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	for _, missing := range []bool{false, true} {
		home, elsewhere := endpointtest.Dir(t), endpointtest.Dir(t)
		f := setupAt(t, home, nil)
		if missing {
			if err := os.Remove(f.o.Dir); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{home, f.o.Dir} {
			if err := os.Chown(path, nobody, nobody); err != nil && !missing {
				t.Fatal(err)
			}
		}
		ca := endpointtest.NewAuthority(t)
		e := endpoint.Endpoint{Host: "tcp://127.0.0.1:1", TLS: &endpoint.TLS{CA: ca.PEM}}
		for _, changed := range []bool{true, false} {
			f.wantOutcome(f.Create(t.Context(), rd, e, ""), state.ReasonCreated, changed)
		}
		found := 0
		err := filepath.WalkDir(f.o.Dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				found++
				wantOwner(t, path, nobody)
			}
			return err
		})
		if err != nil || found < 8 {
			t.Errorf("%d files (%v)", found, err)
		}

		// A user who lays a snare.
		own := f.store.GetStorageInfo("rd").MetadataPath
		secret := filepath.Join(elsewhere, "secret")
		f.write(secret, "")
		if err := os.Link(secret, filepath.Join(own, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, filepath.Join(own, "dir")); err != nil {
			t.Fatal(err)
		}
		f.wantOutcome(f.Create(t.Context(), rd, e, ""), state.ReasonCreated, false)
		wantOwner(t, secret, 0)
		wantOwner(t, elsewhere, 0)
	}
}

func wantOwner(t *testing.T, path string, uid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if have := info.Sys().(*syscall.Stat_t).Uid; have != uid {
		t.Errorf("%s belongs to %d, want %d", path, have, uid)
	}
}

// What root copies for a user is the user's, with the rights that it had; what he could
// not read before, he can't read afterwards either.
func TestFixAsRootForUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	f := setup(t)
	f.use("gone")
	corrupt := f.putRaw("corrupt", "{")
	secret := filepath.Join(endpointtest.Dir(t), "secret")
	f.write(secret, "secret{")
	snare := f.store.GetStorageInfo("snare").MetadataPath
	if err := os.MkdirAll(snare, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(snare, "meta.json")); err != nil {
		t.Fatal(err)
	}
	f.Create(t.Context(), rd, endpoint.Endpoint{Host: "unix:///nonexistent/s"}, "")
	for _, path := range []string{f.o.Dir, f.file(), corrupt, filepath.Join(f.store.GetStorageInfo("rd").MetadataPath, "meta.json")} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	fixes := 0
	for _, x := range f.doctor() {
		fixed, err := x.Fix(t.Context())
		if err != nil || fixed.Backup == "" {
			t.Errorf("Fix(%s): %+v, %v", x.Code, fixed, err)
			continue
		}
		fixes++
		if filepath.Dir(fixed.Backup) == snare {
			if info, err := os.Lstat(fixed.Backup); err != nil || info.Mode().Type() != fs.ModeSymlink {
				t.Errorf("what a link leads to was copied (%v)", err)
			}
			continue
		}
		wantOwner(t, fixed.Backup, nobody)
	}
	if fixes != 4 {
		t.Errorf("%d fixes", fixes)
	}
}
