package namespaces

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/processes"
	"github.com/docker-rd/docker-rd/internal/files"
)

// An engine has its own /run, a tmpfs. It has the host's /run as hostDir and a symlink into it
// for each entry that is not hidden. So it does not matter what the host has at a hidden name,
// or when the host replaces it; a bind mount over the host's file would end with that file.
// Symlinks follow what the host replaces.
const (
	runDir  = "/run"
	hostDir = ".host" // in runDir
)

// A Run is an engine's own /run.
type Run struct {
	// Hide are the host's entries that the engine does not see. Those that end with "/" are
	// replaced by an empty directory, as a mount point.
	Hide []string
	// Own are directories that the engine's processes use by name, without links. Those in /run
	// are mounted instead of linked, so that the real paths stay the same.
	Own []string
	// Staging is an empty directory for temporary use.
	Staging string
}

func (r *Run) hidden(name string) bool {
	return name == hostDir || slices.Contains(r.Hide, name) || slices.Contains(r.Hide, name+"/")
}

// mount covers /run in this mount namespace.
func (r *Run) mount() error {
	// The host's /run moves through the staging directory: its new place is inside the tmpfs,
	// which hides it once mounted.
	if err := unix.Mount(runDir, r.Staging, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %q to %q: %w", runDir, r.Staging, err)
	}
	fd, err := unix.Open(r.Staging, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: r.Staging, Err: err}
	}
	defer unix.Close(fd)
	staging := fmt.Sprintf("/proc/self/fd/%d", fd) // the path may lead through /run
	if err := unix.Mount(processes.RunSource, runDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount the engine's own %q: %w", runDir, err)
	}
	host := filepath.Join(runDir, hostDir)
	if err := os.Mkdir(host, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(staging, host, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind the host's %q to %q: %w", runDir, host, err)
	}
	// Private first, or the unmount would propagate to the other places.
	if err := unix.Mount("", staging, "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %q private: %w", r.Staging, err)
	}
	if err := unix.Unmount(staging, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %q: %w", r.Staging, err)
	}
	for _, name := range r.Hide {
		if dir, ok := strings.CutSuffix(name, "/"); ok {
			if err := os.Mkdir(filepath.Join(runDir, dir), 0o755); err != nil {
				return err
			}
		}
	}
	if err := r.mountOwn(host); err != nil {
		return err
	}
	return r.sync(runDir, host)
}

// mountOwn mounts the host's directories that hold the engine's own paths.
func (r *Run) mountOwn(host string) error {
	for _, path := range r.Own {
		rest, ok := strings.CutPrefix(path, runDir+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		source, target := filepath.Join(host, name), filepath.Join(runDir, name)
		// Links need no mount.
		if info, err := os.Lstat(source); err != nil || !info.IsDir() || files.Exists(target) || r.hidden(name) {
			continue
		}
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %q to %q: %w", source, target, err)
		}
	}
	return nil
}

// sync makes the links in the engine's /run, which is at run, to the host's entries, which are
// at host, and removes dangling ones. Everything else stays.
func (r *Run) sync(run, host string) error {
	entries, err := os.ReadDir(host)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
		if r.hidden(e.Name()) {
			continue
		}
		err := os.Symlink(filepath.Join(hostDir, e.Name()), filepath.Join(run, e.Name()))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if entries, err = os.ReadDir(run); err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(run, e.Name())
		if e.Type() != os.ModeSymlink || there[e.Name()] {
			continue
		}
		if target, err := os.Readlink(path); err == nil && target == filepath.Join(hostDir, e.Name()) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
