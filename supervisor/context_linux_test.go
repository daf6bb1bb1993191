package supervisor

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A configuration that can't be written costs the context, not the engine.
func TestReadOnlyConfiguration(t *testing.T) {
	f := setup(t)
	if os.Geteuid() == 0 {
		if err := unix.Mount("none", f.inst.DockerConfig, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(f.inst.DockerConfig, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	} else if err := os.Chmod(f.inst.DockerConfig, 0o500); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.wait(state.Ready, state.True, "")
	f.wait(state.ContextReady, state.False, state.ReasonConfigReadOnly)
	f.wait(state.ContextPromoted, state.False, state.ReasonNotApplicable)
	if _, err := f.stopped(true); err != nil {
		t.Error(err)
	}
}
