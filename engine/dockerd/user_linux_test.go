package dockerd

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/test/asuser"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// missingEnv tells the tests that run as a user that he lacks everything.
const missingEnv = "DOCKERD_TEST_MISSING"

// The tests of this package, for an ordinary user's engine.
func TestAsUser(t *testing.T) {
	asuser.Rerun(t, "^Test", "")
}

// A user who lacks everything is told all of it at once.
func TestAsUserWithNothing(t *testing.T) {
	const setup = `chmod 600 "$dir/dev/tun"
for path in /usr/bin/newuidmap /usr/bin/newgidmap /usr/bin/slirp4netns /etc/subuid /etc/subgid; do mount --bind /dev/null "$path"; done`
	asuser.Rerun(t, "^TestAllThatIsMissing$", setup, missingEnv+"=1")
}

func TestAllThatIsMissing(t *testing.T) {
	if os.Getenv(missingEnv) == "" {
		t.Skip("TestAsUserWithNothing runs this")
	}
	realengine.NeedOwn(t)
	cfg := testConfig(t)
	cfg.Args = []string{"--live-restore"}
	err := refusal(cfg)
	if failure.Code(err) != failure.CodeRefused {
		t.Fatalf("Check = %v, want a refusal", err)
	}
	for _, part := range []string{"newuidmap", "newgidmap", "slirp4netns", "/etc/subuid", "/etc/subgid", "live-restore"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %s", err, part)
		}
	}
	hints := ""
	for _, part := range failure.Parts(err) {
		hints += failure.Hint(part) + "\n"
	}
	for _, part := range []string{"apt-get install uidmap", "slirp4netns", "usermod --add-subuids ", "--add-subgids "} {
		if !strings.Contains(hints, part) {
			t.Errorf("the hints do not name %s:\n%s", part, hints)
		}
	}
}

func TestUserSettingsAreRefused(t *testing.T) {
	if !rootless {
		t.Skip("this is about ordinary users' engines")
	}
	in := newInstance(t)
	for _, args := range [][]string{{"--live-restore"}, {"--exec-opt", "native.cgroupdriver=systemd"}} {
		in.cfg.Args = args
		if err := refusal(in.cfg); failure.Code(err) != failure.CodeRefused {
			t.Errorf("%q: Check = %v, want a refusal", args, err)
		}
	}
	in.cfg.Args = nil
}

// Files have the owners that they have on the host where they are the user's, and his ids'
// where a container made them as somebody else. He can remove all of them.
func TestOwners(t *testing.T) {
	if !rootless {
		t.Skip("this is about ordinary users' engines")
	}
	in := newInstance(t)
	in.start()
	in.importImage()
	dir := t.TempDir()
	in.docker("run", "--rm", "-v", dir+":/dir", "app", "touch", "/dir/mine")
	if info, err := os.Stat(dir + "/mine"); err != nil || owner(info) != os.Geteuid() {
		t.Errorf("a file that root made in a container: %v", err)
	}
	in.docker("run", "--rm", "-v", "data:/data", "app", "mkdir", "/data/theirs", "33")
	in.docker("run", "--rm", "-v", "data:/data", "--user", "33", "app", "touch", "/data/theirs/file")
	theirs := in.cfg.DataRoot + "/volumes/data/_data/theirs"
	if info, err := os.Stat(theirs); err != nil || owner(info) == os.Geteuid() {
		t.Errorf("a directory that another user of a container has: %v", err)
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(theirs); err == nil {
		t.Error("the user can remove it himself: this test proves nothing")
	}
	if err := RemoveAsUser(in.cfg.DataRoot); err != nil || exists(in.cfg.DataRoot) {
		t.Errorf("RemoveAsUser = %v", err)
	}
}

// An ordinary user's engine reaches the ports of the host's loopback that it may, and its
// containers see who connects.
func TestUserAndHost(t *testing.T) {
	if !rootless {
		t.Skip("network_linux_test.go has this for root's engines, on a host of the test's own")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello from the host")
			_ = c.Close()
		}
	}()
	in := newInstance(t)
	in.cfg.Localhost = []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}
	in.start()
	in.importImage()
	if got := in.docker("run", "--rm", "--network", "host", "app", "dial", l.Addr().String()); got != "hello from the host" {
		t.Errorf("a port of the host's loopback: %q", got)
	}

	host := namespaces.HostAddress()
	if !host.IsValid() {
		t.Log("this host has loopback alone: nobody can connect whose address is not hidden")
		return
	}
	in.docker("run", "-d", "--name", "who", "-p", "0.0.0.0::80", "app", "who", "80")
	_, port, err := net.SplitHostPort(in.published("who", "80/tcp"))
	if err != nil {
		t.Fatal(err)
	}
	if got := greeting(t, net.JoinHostPort(host.String(), port)); !strings.HasPrefix(got, host.String()+":") {
		t.Errorf("the container sees %q connect, want %s", got, host)
	}
}

func owner(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func TestIDRanges(t *testing.T) {
	for count, want := range map[uint32]bool{200: false, 201: true} {
		if overlap([]namespaces.Range{{Start: 300, Count: 10}, {Start: 100, Count: count}}) != want {
			t.Errorf("%d ids from 100 on, and some from 300 on: not %v", count, want)
		}
	}
	file := t.TempDir() + "/subuid"
	if got := freeRange(file); got != "100000-165535" {
		t.Errorf("without a file: %s", got)
	}
	if err := os.WriteFile(file, []byte("a:100000:65536\nb:300000:10\nnonsense\nc:165536:65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("300010-365545", freeRange(file)); diff != "" {
		t.Error(diff)
	}
}
