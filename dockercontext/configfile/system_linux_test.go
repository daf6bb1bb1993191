package configfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/internal/files"
)

func TestMetadataStays(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o640, 0o644, 0o620} {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, `{}`)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setxattr(path, "user.test", []byte("value"), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			t.Fatal(err)
		} else if err == nil {
			defer func() {
				value := make([]byte, 16)
				n, err := unix.Getxattr(path, "user.test", value)
				if err != nil || string(value[:n]) != "value" {
					t.Errorf("the attribute is %q, %v", value[:max(n, 0)], err)
				}
			}()
		}
		if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
			t.Fatalf("mode %v: Update = %t, %v", mode, changed, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != mode {
			t.Errorf("the mode became %v (%v), want %v", info.Mode(), err, mode)
		}
	}
}

// TestACLStays: a POSIX ACL goes over to the new file, and one that the directory would
// give it does not.
func TestACLStays(t *testing.T) {
	const access, standard = "system.posix_acl_access", "system.posix_acl_default"
	// See linux/posix_acl_xattr.h: a version, then tag, permissions and id of each entry.
	acl := func(mask uint16) []byte {
		data := binary.LittleEndian.AppendUint32(nil, 2)
		for _, e := range []struct {
			tag, perm uint16
			id        uint32
		}{{1, 6, ^uint32(0)}, {2, 4, 12345}, {4, 0, ^uint32(0)}, {16, mask, ^uint32(0)}, {32, 0, ^uint32(0)}} {
			data = binary.LittleEndian.AppendUint16(data, e.tag)
			data = binary.LittleEndian.AppendUint16(data, e.perm)
			data = binary.LittleEndian.AppendUint32(data, e.id)
		}
		return data
	}
	get := func(path string) []byte {
		value := make([]byte, 256)
		n, err := unix.Getxattr(path, access, value)
		if err != nil && !errors.Is(err, unix.ENODATA) {
			t.Fatal(err)
		}
		return value[:max(n, 0)]
	}
	for _, kept := range []bool{true, false} {
		dir := t.TempDir()
		path := filepath.Join(dir, "config.json")
		if err := unix.Setxattr(dir, standard, acl(7), 0); errors.Is(err, unix.ENOTSUP) {
			t.Skip("the file system has no ACLs")
		} else if err != nil {
			t.Fatal(err)
		}
		write(t, path, `{}`)
		var err error
		if kept {
			err = unix.Setxattr(path, access, acl(4), 0)
		} else if err = unix.Removexattr(path, access); err == nil {
			err = os.Chmod(path, 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := get(path)
		if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
			t.Fatalf("Update = %t, %v", changed, err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o640 || !bytes.Equal(get(path), before) {
			t.Errorf("kept %t: the file has mode %v and the ACL %x (%v), want %x", kept, info.Mode(), get(path), err, before)
		}
	}
}

func TestNewFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "config.json")
	if _, err := Update(t.Context(), path, to("rd")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%q has mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

// TestOwnerStays: root running over a user's file keeps the owner.
func TestOwnerStays(t *testing.T) {
	needRoot(t)
	const uid, gid = 12345, 23456
	owner := func(name string) string {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	write(t, path, `{}`)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if _, err := Update(t.Context(), path, to("rd")); err != nil {
		t.Fatal(err)
	}
	if got, want := owner(path), "12345:23456"; got != want {
		t.Errorf("the file belongs to %s, want %s", got, want)
	}
	// What root makes in a user's directory is the user's.
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "sub", "config.json")
	if _, err := Update(t.Context(), made, to("rd")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{made, filepath.Dir(made)} {
		if got, want := owner(name), "12345:23456"; got != want {
			t.Errorf("%q belongs to %s, want %s", name, got, want)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// asUser runs f with the file system rights of an ordinary user, in a thread that dies.
func asUser(t *testing.T, f func()) {
	t.Helper()
	needRoot(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lockThreadForEver()
		if err := unix.Setfsgid(12345); err != nil {
			t.Error(err)
		}
		if err := unix.Setfsuid(12345); err != nil {
			t.Error(err)
		}
		f()
	}()
	<-done
}

func TestForeignFileAsUser(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	write(t, path, `{}`)
	for name, mode := range map[string]os.FileMode{dir: 0o777, path: 0o666, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	asUser(t, func() {
		// Only chown tells here: the thread's effective user is still root.
		_, err := Update(t.Context(), path, to("rd"))
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Reason != Owner || refused.Path != path {
			t.Errorf("Update of a file of another user: %v", err)
		}
		onlyFile(t, "refused", path)
	})
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	asUser(t, func() { checkRefused(t, path, Unreadable) })
}

func TestLinks(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "configfile-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(shm)
	for _, tc := range []struct {
		name    string
		links   map[string]string // in the directory, name to target
		content string            // "" for a target that is missing
		target  string            // relative to the directory
	}{
		{"relative", map[string]string{"config.json": "real/c.json"}, `{}`, "real/c.json"},
		{"absolute", map[string]string{"config.json": "ABS/real/c.json"}, `{}`, "real/c.json"},
		{"chained", map[string]string{"config.json": "sub/next", "sub/next": "../real/c.json"}, `{}`, "real/c.json"},
		{"through a linked directory", map[string]string{"config.json": "way/../c.json", "way": "real/deep"}, `{}`, "real/c.json"},
		{"dangling", map[string]string{"config.json": "real/c.json"}, "", "real/c.json"},
		{"dangling, directory missing", map[string]string{"config.json": "none/such/c.json"}, "", "none/such/c.json"},
		{"across devices", map[string]string{"config.json": shm + "/c.json"}, `{}`, shm + "/c.json"},
		{"dangling across devices", map[string]string{"config.json": shm + "/d.json"}, "", shm + "/d.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"real/deep", "sub"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]string{}
			for name, link := range tc.links {
				link = strings.Replace(link, "ABS", dir, 1)
				want[name] = link
				if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			target := tc.target
			if !filepath.IsAbs(target) {
				target = filepath.Join(dir, target)
			}
			if tc.content != "" {
				write(t, target, tc.content)
			}
			path := filepath.Join(dir, "config.json")
			if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
				t.Fatalf("Update = %t, %v", changed, err)
			}
			if got, err := Current(path); got.Name != "rd" || err != nil {
				t.Errorf("Current = %q, %v", got, err)
			}
			for name, link := range want {
				if got, err := os.Readlink(filepath.Join(dir, name)); got != link {
					t.Errorf("link %q is %q (%v), want %q", name, got, err, link)
				}
			}
			if tc.content == "" {
				tc.content = "{\n}\n" // what unset leaves of a new file
			}
			if _, err := Update(t.Context(), path, to("")); err != nil {
				t.Fatal(err)
			}
			if got := read(t, target); got != tc.content {
				t.Errorf("set and unset makes %q of %q", got, tc.content)
			}
		})
	}
	t.Run("circle", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.Symlink("config.json", path); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, NotRegular)
	})
}

func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, path, NotRegular) // and does not wait for a writer
}

func TestReadOnlyDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	write(t, path, `{}`)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	checkRefused(t, path, ReadOnly)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		asUser(t, func() { checkRefused(t, path, Unreadable) })
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		asUser(t, func() { checkRefused(t, path, ReadOnly) })
	}
}

// Not even root can replace what is immutable.
func TestImmutable(t *testing.T) {
	needRoot(t)
	for _, what := range []string{".", "config.json"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "config.json")
			write(t, path, `{}`)
			setImmutable(t, filepath.Join(dir, what))
			checkRefused(t, path, ReadOnly)
		})
	}
}

// setImmutable does so for the time of the test, where the file system knows it.
func setImmutable(t *testing.T, path string) {
	t.Helper()
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|immutable)
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		t.Skipf("%s: no file of this file system can be made immutable: %v", path, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags); err != nil {
			t.Error(err)
		}
	})
}

// mount mounts for the time of the test.
func mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	needRoot(t)
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestBindMount(t *testing.T) {
	needRoot(t)
	path := filepath.Join(t.TempDir(), "config.json")
	source := filepath.Join(t.TempDir(), "source")
	write(t, path, `{}`)
	write(t, source, `{"x":1}`)
	mount(t, source, path, "", unix.MS_BIND, "")
	checkRefused(t, path, BindMount)
	if got, want := read(t, source), `{"x":1}`; got != want {
		t.Errorf("the file became %s", got)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	mount(t, "none", dir, "tmpfs", 0, "size=64k")
	write(t, path, `{}`)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, path, ReadOnly)
}

func TestFullDisk(t *testing.T) {
	needRoot(t)
	for _, limit := range []string{"size=64k", "size=1m,nr_inodes=3"} {
		dir := t.TempDir()
		mount(t, "none", dir, "tmpfs", 0, limit)
		sub := filepath.Join(dir, "d")
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(sub, "config.json")
		content := `{"x":"` + strings.Repeat("x", 9000) + `"}`
		write(t, path, content)
		if strings.HasPrefix(limit, "size=64k") {
			fill(t, filepath.Join(dir, "full"))
		}
		checkRefused(t, path, NoSpace)
		if got := read(t, path); got != content {
			t.Errorf("%s: the file has %d bytes, want %d", limit, len(got), len(content))
		}
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeaseHoldsOthersUp: who opens our file while it is not settled waits, and then
// gets the final content even if the file was superseded meanwhile.
func TestLeaseHoldsOthersUp(t *testing.T) {
	defer func() { fault = noFault }()
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	opened := make(chan *os.File, 1)
	var superseded uint64
	fault = func(point string) {
		switch point {
		case "compared":
			if err := writeAsDocker(path, `{"theirs":1}`); err != nil {
				t.Error(err)
			}
		case "exchanged":
			superseded = inode(t, path)
			go func() {
				f, err := os.Open(path)
				if err != nil {
					t.Error(err)
				}
				opened <- f
			}()
			waitForLeaseBreak(t)
		case "exchanged again":
			if inode(t, path) == superseded {
				t.Error("the file was not superseded")
			}
			select {
			case <-opened:
				t.Error("somebody could open a file that is not settled")
			default:
			}
		}
	}
	if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	f := <-opened
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Ino != superseded {
		t.Errorf("opened is inode %d (%v), want the superseded %d", st.Ino, err, superseded)
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	if want := `{"theirs":1,"currentContext":"rd"}`; got.String() != want || read(t, path) != want {
		t.Errorf("who waited reads %s, the file is %s, want %s", &got, read(t, path), want)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Error(err)
	}
	return st.Ino
}

// waitForLeaseBreak waits until the kernel tells that somebody waits on a lease of ours.
func waitForLeaseBreak(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		locks, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Error(err)
			return
		}
		if regexp.MustCompile(fmt.Sprintf(`LEASE +BREAKING +\w+ +%d `, os.Getpid())).Match(locks) {
			return
		}
	}
	t.Error("nobody waits on the lease")
}

// TestWriterInPlace: a program that has the file open for writing when it is displaced
// is waited for, and what it writes is carried on.
func TestWriterInPlace(t *testing.T) {
	defer func() { fault = noFault }()
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	written := make(chan error, 1)
	fault = func(point string) {
		switch point {
		case "compared":
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Error(err)
				return
			}
			exchanged := fault
			fault = func(point string) {
				if point != "exchanged" {
					return
				}
				fault = exchanged
				go func() {
					_, err := f.WriteString(`{"inPlace":true}`)
					written <- errors.Join(err, f.Close())
				}()
			}
		}
	}
	if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), `{"inPlace":true,"currentContext":"rd"}`; got != want {
		t.Errorf("the file is %s, want %s", got, want)
	}
}

// TestWithoutExchange: file systems that can't exchange get a comparison and a rename.
func TestWithoutExchange(t *testing.T) {
	defer func() { fault, exchangeFiles = noFault, exchange }()
	exchangeFiles = func(string, string) error { return files.ErrNoExchange }
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	once := true
	fault = func(point string) {
		if point == "recorded" && once {
			once = false
			if err := writeAsDocker(path, `{"theirs":1}`); err != nil {
				t.Error(err)
			}
		}
	}
	if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	if got, want := read(t, path), `{"theirs":1,"currentContext":"rd"}`; got != want {
		t.Errorf("the file is %s, want %s", got, want)
	}
	onlyFile(t, "renamed", path)
}

// TestSnares: what somebody puts where our own files go is neither written to, nor
// given away, nor waited for.
func TestSnares(t *testing.T) {
	for _, tc := range []struct {
		name string
		lay  func(elsewhere, at string) error
	}{
		{"symbolic link", os.Symlink},
		{"hard link", os.Link},
		{"pipe", func(_, at string) error { return unix.Mkfifo(at, 0o600) }},
		{"directory", func(_, at string) error { return os.MkdirAll(filepath.Join(at, "full"), 0o700) }},
	} {
		for _, ours := range []func(string) string{journalName, func(target string) string { return tempName(target, 1) }} {
			path := filepath.Join(t.TempDir(), "config.json")
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			write(t, path, `{}`)
			write(t, elsewhere, "theirs")
			before, err := os.Stat(elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.lay(elsewhere, ours(path)); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(filepath.Dir(path), 12345, 12345); err != nil {
					t.Fatal(err)
				}
			}
			if changed, err := Update(t.Context(), path, to("rd")); changed != (err == nil) {
				t.Errorf("%s at %s: Update = %t, %v", tc.name, ours("x"), changed, err)
			}
			after, err := os.Stat(elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			if read(t, elsewhere) != "theirs" || after.Sys().(*syscall.Stat_t).Uid != before.Sys().(*syscall.Stat_t).Uid || after.Mode() != before.Mode() {
				t.Errorf("%s at %s: what it leads to was changed", tc.name, ours("x"))
			}
		}
	}
}

// TestSteadyStateIsSilent: with nothing to change, the file is opened for reading only
// and nothing is made, renamed or removed.
func TestSteadyStateIsSilent(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	trace := filepath.Join(t.TempDir(), "trace")
	run := func(content string) string {
		write(t, path, content)
		cmd := exec.Command(strace, "-f", "-qq", "-o", trace, "-e", "trace=file,desc", self)
		cmd.Env = append(os.Environ(), envChild+"="+path, "GORACE=atexit_sleep_ms=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return read(t, trace)
	}
	writes := regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|rename|unlink|mkdir|chmod|chown|F_SETLEASE|fsync|ftruncate|setxattr`)
	about := func(trace string) (found []string) {
		for line := range strings.Lines(trace) {
			if strings.Contains(line, dir) || strings.Contains(line, "F_SETLEASE") || strings.Contains(line, "fsync") {
				found = append(found, line)
			}
		}
		return found
	}
	opened := false
	for _, line := range about(run(`{"currentContext":"rd"}`)) {
		opened = opened || strings.Contains(line, "O_RDONLY") && strings.Contains(line, `config.json"`)
		if writes.MatchString(line) {
			t.Errorf("with nothing to change: %s", line)
		}
	}
	if !opened {
		t.Error("the trace does not show that the file is opened for reading")
	}
	if lines := strings.Join(about(run(`{}`)), ""); !writes.MatchString(lines) {
		t.Errorf("the trace does not show a change either: %s", lines)
	}
}

// lockThreadForEver: a goroutine that ends locked takes its thread with it.
func lockThreadForEver() { runtime.LockOSThread() }
