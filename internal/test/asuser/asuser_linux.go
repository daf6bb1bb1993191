// Package asuser runs tests of root's again as an ordinary user, which it makes and removes, also if
// the tests are killed.
package asuser

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// guard makes the user, and removes the user with all files when its standard input ends, which also
// happens if the test is killed. Processes that still run are an error.
const guard = `set -u
trap '' PIPE # who hears what it says may have been killed
dir=$1 name=$2
# useradd gives up at once where another test has the lock.
until useradd --no-create-home --home-dir "$dir/home" --shell /bin/sh "$name" 2>"$dir/said"; do
	grep -q 'cannot lock' "$dir/said" || { cat "$dir/said"; exit 1; }
	sleep 0.1
done
uid=$(id -u "$name")
next() { awk -F: 'BEGIN { n = 200000 } { e = $2 + $3; if (e > n) n = e } END { print n }' "$1"; }
for kind in uid gid; do
	until grep -q "^$name:" /etc/sub$kind; do
		first=$(next /etc/sub$kind)
		usermod --add-sub${kind}s "$first-$((first + 65535))" "$name" 2>/dev/null || sleep 0.1
	done
done
install -d -o "$name" -m 0700 "$dir/home"
echo made
read -r _
pids=$(pgrep -u "$name" -r D,R,S,T,t) && { echo "left:"; ps -o pid,args -p $(echo $pids | tr ' ' ,); kill -KILL $pids; }
# testscript leaves its directory where not all of its scripts are run.
find /tmp -maxdepth 1 -name 'go-test-script*' -user "$name" -empty -delete
until userdel "$name" 2>"$dir/said"; do
	grep -q 'cannot lock\|currently used' "$dir/said" || { cat "$dir/said"; break; }
	sleep 0.1
done
rm -rf "$dir"
`

// enter runs a command as the user, with a private /dev/net/tun if the machine's is closed, and with
// the repository if that is below a directory of root's.
const enter = `set -eu
dir=$1 name=$2 repo=$3 work=$4; shift 4
mount -t tmpfs tmpfs "$dir/dev"
mknod -m 666 "$dir/dev/tun" c 10 200
mount --bind "$dir/dev/tun" /dev/net/tun
mount --bind "$repo" "$dir/repo"
eval "$SETUP"
cd "$dir/repo/$work"
exec setpriv --reuid "$name" --regid "$name" --init-groups env -i "$@"
`

// A User is an ordinary user, until the test ends.
type User struct {
	Name string
	// Home is the user's home, in Dir, which everybody may read. Its path is short.
	Home, Dir string
	// Setup is a shell script that root runs in the user's mount namespace before each of the
	// user's commands, to change the machine there. It has the user's $name and $dir, and may
	// make files in "$dir/dev".
	Setup string

	repo, work string
}

// New makes a user. It needs root.
func New(t testing.TB) *User {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rdu") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	u := &User{Name: "rdt-" + strings.TrimPrefix(filepath.Base(dir), "rdu"), Dir: dir, Home: filepath.Join(dir, "home")}
	makeUser(t, dir, u.Name)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	u.repo = root(wd)
	if u.work, err = filepath.Rel(u.repo, wd); err != nil {
		t.Fatal(err)
	}
	return u
}

// Add copies a program to beside the port proxy, and returns its path there.
func (u *User) Add(name, from string) (string, error) {
	path := filepath.Join(u.Dir, "built", name)
	return path, copyProgram(path, from)
}

// Command returns a command that runs as the user with a minimal environment and env. It ends with
// this process.
func (u *User) Command(env []string, argv ...string) *exec.Cmd {
	args := append([]string{"-c", enter, "enter", u.Dir, u.Name, u.repo, u.work,
		"HOME=" + u.Home, "USER=" + u.Name,
		// Programs of the repository are where the user sees it.
		"PATH=" + strings.ReplaceAll(os.Getenv("PATH"), u.repo, filepath.Join(u.Dir, "repo"))}, env...)
	cmd := exec.Command("sh", append(args, argv...)...)
	cmd.Env = append(os.Environ(), "SETUP="+u.Setup)
	// A mount namespace of its own: unshare(2) in a shell's place, with the mounts private.
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Rerun is [User.Rerun] for a new user.
func Rerun(t *testing.T, pattern string, env ...string) {
	t.Helper()
	NeedRoot(t)
	New(t).Rerun(t, pattern, env...)
}

// NeedRoot skips a test that is there to run others again as a user, where a user runs it.
func NeedRoot(t *testing.T) {
	t.Helper()
	realengine.NeedOwn(t)
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user runs these tests as they are")
	}
}

// Rerun runs the tests of this test binary that match a pattern again as the user. It fails if they
// fail, or if a process of the user outlives them.
func (u *User) Rerun(t *testing.T, pattern string, env ...string) {
	t.Helper()
	argv := []string{filepath.Join(u.Dir, "tests"), "-test.run=" + pattern, "-test.v", "-test.failfast=false",
		"-test.parallel=" + flag.Lookup("test.parallel").Value.String()}
	if deadline, ok := t.Deadline(); ok {
		argv = append(argv, "-test.timeout="+(time.Until(deadline)-10*time.Second).String())
	}
	cmd := u.Command(append([]string{realengine.BuiltEnv + "=" + filepath.Join(u.Dir, "built")}, env...), argv...)
	out, err := cmd.CombinedOutput()
	first := strings.FieldsFunc(pattern, func(r rune) bool { return strings.ContainsRune("^$|/", r) })[0]
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+first)) {
		t.Errorf("as user %s: %v\n%s", u.Name, err, out)
	} else {
		t.Logf("as user %s:\n%s", u.Name, out)
	}
}

// prepare copies the tests' binary, and what it would build, to where the user can read it.
func prepare(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for _, sub := range []string{"dev", "repo", "built"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := realengine.Build(filepath.Join(dir, "built")); err != nil {
		return err
	}
	return copyProgram(filepath.Join(dir, "tests"), "/proc/self/exe")
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// makeUser makes the user, until the test ends.
func makeUser(t testing.TB, dir, name string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", guard, "guard", dir, name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is not for it
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len("made\n"))
	if _, err := io.ReadFull(out, first); err != nil || string(first) != "made\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("make user %s: %v: %s%s", name, cmd.Wait(), first, rest)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || len(rest) > 0 {
			t.Errorf("remove user %s: %v: %s", name, err, rest)
		}
	})
}

// root returns the repository's directory.
func root(dir string) string {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	panic(fmt.Sprintf("%s is in no module", dir))
}
