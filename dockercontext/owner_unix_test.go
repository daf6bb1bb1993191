//go:build !windows

package dockercontext

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/docker-rd/docker-rd/internal/endpoint"
	"github.com/docker-rd/docker-rd/internal/enginetest"
)

// What root makes in a user's configuration is the user's; what else lies there, and
// where his links lead, stays whose it is.
func TestCreateAsRootForUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const nobody = 65534
	for _, missing := range []bool{false, true} {
		home, elsewhere := enginetest.Dir(t), enginetest.Dir(t)
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
		ca := enginetest.NewAuthority(t)
		e := endpoint.Endpoint{Host: "tcp://127.0.0.1:1", TLS: &endpoint.TLS{CA: ca.PEM}}
		for _, changed := range []bool{true, false} {
			f.wantOutcome(f.Create(t.Context(), rd, e, ""), ReasonCreated, changed)
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
		f.wantOutcome(f.Create(t.Context(), rd, e, ""), ReasonCreated, false)
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
