package instance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
)

// What is mounted among an instance's files is not the instance's: not a file of it, nor
// of the instance's own, is removed. That a link leads there makes no difference.
func TestRemoveStopsAtMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	i := create(t, Roots{State: filepath.Join(link, "state"), Data: filepath.Join(link, "data"), Runtime: filepath.Join(link, "run")}, "a")
	theirs := t.TempDir()
	precious := filepath.Join(theirs, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "data", "a", "volumes", "with blank")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(theirs, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })

	err := i.Remove()
	if failure.Code(err) != failure.CodeRefused || !strings.Contains(err.Error(), at) {
		t.Errorf("Remove = %v, want it refused with the mount named", err)
	}
	for _, path := range []string{precious, i.Paths.InstanceFile(), i.Paths.RequestsDir()} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	if err := i.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
