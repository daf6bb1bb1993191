package isolated

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// What the host has at /run/docker.sock, and what becomes of it, is nothing to the
// containers that mount it, whether or not somebody looks after the engine.
func TestDockerSock(t *testing.T) {
	if !playHost(t) {
		return
	}
	in := newInstance(t)
	in.cfg.Settings.EngineArgs = []string{"--live-restore"}
	must(t, os.Mkdir(dockerSock, 0o755)) // docker makes one for -v where there is no engine
	in.start()
	in.importImage()
	in.checkOwnSocket()

	for _, released := range []bool{false, true} {
		if released {
			in.engine.Release()
		}
		for _, tc := range []struct {
			name string
			make func() error
		}{
			{"nothing", func() error { return nil }},
			{"a directory", func() error { return os.Mkdir(dockerSock, 0o755) }},
			{"a dangling link", func() error { return os.Symlink("/run/nowhere", dockerSock) }},
			{"a socket of nobody", func() error { return unix.Mknod(dockerSock, unix.S_IFSOCK|0o666, 0) }},
		} {
			must(t, os.RemoveAll(dockerSock))
			must(t, tc.make())
			before := tree(dockerSock)
			in.checkOwnSocket()
			if after := tree(dockerSock); after != before {
				t.Errorf("%s at the host's docker.sock has become %q, was %q", tc.name, after, before)
			}
			if t.Failed() {
				t.Fatalf("with %s at the host's docker.sock, nobody looks after the engine: %v", tc.name, released)
			}
		}
	}

	// The engine crashes. What it restarts finds the new one.
	in.docker("run", "-d", "--name", "always", "--restart", "always", "-v", "/var/run/docker.sock:/docker.sock", "app", "sleep")
	for _, liveRestore := range []bool{true, false} {
		if !liveRestore {
			in.cfg.Settings.EngineArgs = nil
		}
		in.kill(in.engine.ID())
		in.start()
		in.eventually("the container runs", func() error {
			if state := in.docker("inspect", "-f", "{{.State.Status}} {{.State.Error}}", "always"); state != "running" {
				return errors.New(state)
			}
			return nil
		})
		in.checkOwnSocket()
		if !liveRestore {
			out := in.docker("exec", "always", "/prog", "ask", "/docker.sock", "/info")
			if id := in.docker("info", "-f", "{{.ID}}"); !strings.Contains(out, id) {
				t.Errorf("the container that was restarted is with %q, want %s", out, id)
			}
		}
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir("/run"); err != nil || len(entries) > 2 { // the lock, and the last docker.sock
		t.Errorf("in /run is left: %v, %v", entries, err)
	}
}

// Everything else in /run is the host's, now and later.
func TestHostRun(t *testing.T) {
	if !playHost(t) {
		return
	}
	must(t, os.WriteFile("/run/early", []byte("early"), 0o644))
	must(t, os.MkdirAll("/run/dir/sub", 0o755))
	must(t, os.WriteFile("/run/dir/sub/file", []byte("sub"), 0o644))
	must(t, unix.Mount("tmpfs", "/run/dir/sub", "tmpfs", 0, "")) // covers the file
	must(t, os.WriteFile("/run/dir/sub/mounted", []byte("mounted"), 0o644))
	in := newInstance(t)
	in.cfg.Paths.Data = "/var/run/home/data" // through a link
	in.start()
	in.importImage()
	if got := in.docker("info", "-f", "{{.DockerRootDir}}"); got != "/run/home/data" {
		t.Errorf("the engine's data are in %q", got)
	}
	cat := func(source, file string) (string, error) {
		return in.try("run", "--rm", "-v", source+":/it", "app", "cat", filepath.Join("/it", file))
	}
	want := func(source, file, want string) {
		t.Helper()
		if got, err := cat(source, file); err != nil || got != want {
			t.Errorf("-v %s: %q is %q, %v, want %q", source, file, got, err, want)
		}
	}
	want("/run/early", "", "early")
	want("/var/run/dir", "sub/mounted", "mounted")
	want("/run", "early", "early")
	want("/run", "dir/sub/mounted", "mounted")

	must(t, os.WriteFile("/run/late", []byte("late"), 0o644))
	in.eventually("what is made later can be mounted", func() error {
		if got, err := cat("/run/late", ""); err != nil || got != "late" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	must(t, os.WriteFile("/run/late.new", []byte("later"), 0o644))
	must(t, os.Rename("/run/late.new", "/run/late"))
	want("/run/late", "", "later")
	must(t, os.Mkdir("/run/dir/mount", 0o755))
	must(t, unix.Mount("tmpfs", "/run/dir/mount", "tmpfs", 0, ""))
	must(t, os.WriteFile("/run/dir/mount/file", []byte("in a later mount"), 0o644))
	want("/run/dir/mount", "file", "in a later mount")
	must(t, unix.Unmount("/run/dir/mount", 0))

	must(t, os.RemoveAll("/run/late"))
	in.eventually("what the host has removed is gone", func() error {
		if inside := fmt.Sprintf("/proc/%d/root/run/late", in.engine.ID().PID); files.Exists(inside) {
			return errors.New("it is there")
		}
		return nil
	})
	// What the engine's containers write is the host's.
	in.docker("run", "--rm", "-v", "/run/dir:/it", "app", "touch", "/it/theirs")
	if !files.Exists("/run/dir/theirs") {
		t.Error("a container's file in the host's directory is not there")
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, unix.Unmount("/run/dir/sub", 0)) // not busy any more
}

// The lock around directories of the host is out of reach for users, and where root's own
// process holds it for ever, a start can be given up, and a stop does not wait for it.
func TestHostLock(t *testing.T) {
	if !playHost(t) {
		return
	}
	in := newInstance(t)
	in.start()
	const path = "/run/docker-rd.lock"
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("%s: %v, %v, want a file that only root can open", path, info, err)
	}
	release, err := lock.TryAcquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	in.checkGone()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := in.cfg.Start(ctx)
		failed <- err
	}()
	in.eventually("the start has come to the lock", func() error {
		if !in.cfg.readEngineFile().Engine.Alive() {
			return errors.New("no helper")
		}
		return nil
	})
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want Canceled", err)
	}
	in.checkGone()
}

// A start that is stuck in its preparations can be given up.
func TestStuckHelper(t *testing.T) {
	if !playHost(t) {
		return
	}
	in := newInstance(t)
	path, err := exec.LookPath("iptables-restore")
	must(t, err)
	path, err = filepath.EvalSymlinks(path)
	must(t, err)
	dir := filepath.Dir(in.cfg.Paths.State)
	stuck := filepath.Join(dir, "stuck")
	must(t, os.WriteFile(stuck, []byte("#!/bin/sh\ntouch "+dir+"/called\nexec sleep 600\n"), 0o755))
	must(t, unix.Mount(stuck, path, "", unix.MS_BIND, ""))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := in.cfg.Start(ctx)
		failed <- err
	}()
	in.eventually("the start is stuck", func() error {
		_, err := os.Lstat(filepath.Join(dir, "called"))
		return err
	})
	if id := in.cfg.readEngineFile().Engine; !id.Alive() || in.cfg.runs(id) {
		t.Errorf("the helper %s, which is recorded, is taken for the engine", id)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want Canceled", err)
	}
	in.checkGone()
}

// In a chroot no engine is begun, unless its directory is a mount point.
func TestChroot(t *testing.T) {
	if os.Getenv("IN_CHROOT") != "" {
		cfg := configIn("/nowhere")
		if err := checkNamespaces(&cfg); err != nil {
			t.Fatalf("%v (%s)", err, failure.Hint(err))
		}
		return
	}
	rootOnly(t)
	exe, err := os.Executable()
	must(t, err)
	for mount, want := range map[string]string{"": "no mount point", "mount --bind . . && cd $PWD &&": "PASS"} {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "proc"), 0o755))
		// A namespace of its own: the mounts end with it.
		cmd := exec.Command("unshare", "--mount", "sh", "-c", mount+` mount --rbind /proc proc && for d in usr bin lib lib64; do
			[ ! -e /$d ] || { mkdir $d && mount --bind /$d $d; }; done && cp "$0" tests && exec chroot . /tests -test.run='^TestChroot$' -test.v`, exe)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "IN_CHROOT=1")
		if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), want) {
			t.Errorf("%q: %s", mount, out)
		}
	}
}

// An engine that says nothing has a full disk as its last error.
func TestFullDisk(t *testing.T) {
	if !playHost(t) {
		return
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"))
	defer unix.Unmount(dir, 0)
	cfg := configIn(dir)
	cfg.Paths.Data = dir
	for said, want := range map[string]string{"": `"` + dir + `": no space left on device`, "no": `no ("` + dir + `": no space left on device)`} {
		if got := cfg.orFull(said); got != want {
			t.Errorf("after %q: %s", said, got)
		}
	}
}
