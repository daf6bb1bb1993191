package isolated

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/docker-rd/docker-rd/engine/namespaces"
	"github.com/docker-rd/docker-rd/instance"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/internal/systemd"
	"github.com/docker-rd/docker-rd/internal/test/asuser"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// The tests of this package, for an ordinary user's engine.
func TestAsUser(t *testing.T) {
	asuser.Rerun(t, "^Test")
}

// lackEnv names, for the tests that run as a user, what that user lacks.
const lackEnv = "DOCKERD_TEST_LACK"

// overlaidHome has the user's home on an overlayfs, on which there can be no other.
const overlaidHome = `cd "$dir/dev"
mkdir lower upper work
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work "$dir/home"
chown "$name" "$dir/home"
mknod fuse c 10 229
mount --bind fuse /dev/fuse
`

const noOverlayfs = overlaidHome + `mount --bind /dev/null "$(command -v fuse-overlayfs)"
`

// brokenIptables has a program that fails as iptables does where its modules are not loaded.
const brokenIptables = `cat >"$dir/dev/iptables" <<'end'
#!/bin/sh
echo "iptables: can't initialize iptables table: Table does not exist (do you need to insmod?)"
exit 3
end
chmod 755 "$dir/dev/iptables"
mount --bind "$dir/dev/iptables" "$(readlink -f "$(command -v iptables)")"
`

// withoutSetuid makes newuidmap a program that everybody can run and that can do nothing.
const withoutSetuid = `cp /usr/bin/newuidmap "$dir/dev/newuidmap"
chmod 755 "$dir/dev/newuidmap"
mount --bind "$dir/dev/newuidmap" /usr/bin/newuidmap
`

// asOther is the beginning of a setpriv in place of the system's, $setpriv, of which the user's
// process comes.
const asOther = `setpriv=$(command -v setpriv)
PATH="$dir/dev/bin:$PATH"
mkdir "$dir/dev/bin"
touch "$dir/dev/bin/setpriv"
chmod 755 "$dir/dev/bin/setpriv"
export setpriv
cat >"$dir/dev/bin/setpriv" <<'end'
#!/bin/sh
`

const noNewPrivileges = asOther + `exec "$setpriv" --no-new-privs "$@"
end
`

const withoutName = `mount -t tmpfs -o uid=61234,mode=700 tmpfs "$dir/home"
` + asOther + `shift 5 # who it was to be
for arg; do
	shift
	case $arg in USER=*) ;; *) set -- "$@" "$arg" ;; esac
done
exec "$setpriv" --reuid 61234 --regid 61234 --clear-groups "$@"
end
`

// lacking are machines on which an ordinary user lacks something, with what he is told: a
// problem each and what its hint says.
var lacking = map[string]struct {
	setup string
	args  []string
	want  [][2]string
}{
	"everything": {noOverlayfs + brokenIptables + `chmod 600 "$dir/dev/tun"
for path in /usr/bin/newuidmap /usr/bin/newgidmap /usr/bin/slirp4netns /etc/subuid /etc/subgid; do mount --bind /dev/null "$path"; done
`, []string{"--live-restore"}, [][2]string{
		{"missing: newuidmap, newgidmap, slirp4netns", "`sudo apt-get install uidmap slirp4netns`"},
		{"does not support live-restore", "remove it"},
		{"has 0 user ids for containers in /etc/subuid, and images need 65536, ", " --add-subgids 100000-165535 "},
		{"/dev/net/tun: permission denied", "`sudo chmod 666 /dev/net/tun`"},
		{"and fuse-overlayfs is missing", "`sudo apt-get install fuse-overlayfs`"},
		{"iptables does not work for an ordinary user: iptables: can't initialize", "`sudo modprobe -a "},
	}},
	"newuidmap without setuid": {withoutSetuid, nil, [][2]string{
		{"ids for containers: newuidmap: write to uid_map failed: Operation not permitted", "`sudo apt-get install --reinstall uidmap`"},
	}},
	"no new privileges": {noNewPrivileges, nil, [][2]string{
		{"ids for containers: newuidmap: write to uid_map failed: Operation not permitted", "`NoNewPrivileges=yes`"},
	}},
	"no name": {withoutName, nil, [][2]string{
		{"ids for containers: the user id 61234 has no name in /etc/passwd", "`id -un`"},
	}},
	"few ids": {`echo "$name:300000:1000" >"$dir/dev/few"
mount --bind "$dir/dev/few" /etc/subuid
`, nil, [][2]string{
		{"has 1000 user ids for containers in /etc/subuid, and images need 65536", "`sudo usermod --add-subuids 301000-366535 rdt-"},
	}},
	"ids twice": {`printf "%s:300000:65536\n$name:310000:10\n" "$name" >"$dir/dev/twice"
mount --bind "$dir/dev/twice" /etc/subgid
`, nil, [][2]string{
		{"group ids twice in /etc/subgid: the range that begins with 310000 overlaps another", "):310000:10$/s//rdt-"},
	}},
	"iptables without modules": {brokenIptables, nil, [][2]string{
		{"iptables does not work for an ordinary user: iptables: can't initialize", "`sudo modprobe -a "},
	}},
	"no overlayfs": {noOverlayfs, nil, [][2]string{
		{"overlayfs does not work there for an ordinary user (invalid argument), and fuse-overlayfs is missing", "`sudo apt-get install fuse-overlayfs`"},
	}},
	"a closed /dev/fuse": {overlaidHome + "chmod 600 fuse\n", nil, [][2]string{
		{"neither overlayfs (invalid argument) nor fuse-overlayfs (fuse-overlayfs: cannot mount: Permission denied) works", "`sudo chmod 666 /dev/fuse`"},
	}},
}

// A user learns everything that is missing at once, and nothing else, before anything is changed.
func TestUserLacks(t *testing.T) {
	realengine.Need(t)
	u := asuser.New(t)
	for name, machine := range lacking {
		t.Run(name, func(t *testing.T) {
			u.Setup = machine.setup
			u.Rerun(t, "^TestWhatIsLacking$", lackEnv+"="+name)
		})
	}
}

func TestWhatIsLacking(t *testing.T) {
	machine, ok := lacking[os.Getenv(lackEnv)]
	if !ok {
		t.Skip("TestUserLacks runs this")
	}
	cfg := testConfig(t)
	home := os.Getenv("HOME")
	cfg.Paths.Data, cfg.Settings.EngineArgs = home+"/data", machine.args
	problems := cfg.Check()
	for _, p := range problems {
		t.Logf("%v (%s)", p, failure.Hint(p))
		if failure.Code(p) != failure.CodeRefused {
			t.Errorf("%v: exit status %d", p, failure.Code(p))
		}
	}
	if len(problems) != len(machine.want) {
		t.Fatalf("%d problems, want %d", len(problems), len(machine.want))
	}
	for i, want := range machine.want {
		if got := problems[i].Error(); !strings.Contains(got, want[0]) {
			t.Errorf("%q does not say %q", got, want[0])
		}
		if hint := failure.Hint(problems[i]); !strings.Contains(hint, want[1]) {
			t.Errorf("the hint of %q is %q, without %q", problems[i], hint, want[1])
		}
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("in the user's home is %v, %v", left, err)
	}
}

// Where the kernel's overlayfs does not work, fuse-overlayfs does, and that is said.
func TestAsUserWithFuse(t *testing.T) {
	realengine.Need(t)
	u := asuser.New(t)
	u.Setup = overlaidHome + "chmod 666 fuse\n"
	u.Rerun(t, "^TestFuseOverlay$", lackEnv+"=overlayfs")
}

func TestFuseOverlay(t *testing.T) {
	if os.Getenv(lackEnv) == "" {
		t.Skip("TestAsUserWithFuse runs this")
	}
	in := newInstance(t)
	in.cfg.Paths.Data = os.Getenv("HOME") + "/data"
	if err := refusal(in.cfg); err != nil {
		t.Fatal(err)
	}
	in.start()
	in.importImage()
	in.docker("run", "--rm", "--user", "33", "app", "touch", "/tmp")
	if got := in.docker("info", "-f", "{{.Driver}}"); got != fuseOverlay {
		t.Errorf("the storage driver is %q", got)
	}
	if said := in.cfg.Lacks(); len(said) == 0 || !strings.Contains(said[len(said)-1].Error(), fuseOverlay) {
		t.Errorf("the limits are %v, want one that names %s", said, fuseOverlay)
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTree(in.cfg.Paths.Data); err != nil {
		t.Error(err)
	}
}

// idService is a service that has the ids of users, as sssd has those of a directory.
const idService = `
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>
struct range { unsigned long start, count; };
static const struct range ids = { 1000000000, 65536 };
int shadow_subid_has_range(const char *owner, unsigned long start, unsigned long count, int kind, bool *has) {
	*has = start >= ids.start && start + count <= ids.start + ids.count;
	return 0;
}
int shadow_subid_list_owner_ranges(const char *owner, int kind, struct range **ranges, int *count) {
	*ranges = malloc(sizeof ids);
	**ranges = ids;
	*count = 1;
	return 0;
}
int shadow_subid_find_subid_owners(unsigned long id, int kind, uid_t **uids, int *count) {
	*count = 0;
	return 0;
}
`

// The ids of a user need not be in files.
func TestAsUserOfService(t *testing.T) {
	realengine.Need(t)
	u := asuser.New(t)
	u.Setup = `mkdir "$dir/dev/lib"
cat >"$dir/dev/ids.c" <<'end'` + idService + `end
gcc -shared -fPIC -o "$dir/dev/lib/libsubid_rdtest.so" "$dir/dev/ids.c"
mount -t overlay overlay -o "lowerdir=$dir/dev/lib:/usr/lib" /usr/lib
{ cat /etc/nsswitch.conf; echo "subid: rdtest"; } >"$dir/dev/nsswitch.conf"
mount --bind "$dir/dev/nsswitch.conf" /etc/nsswitch.conf
for kind in uid gid; do mount --bind /dev/null /etc/sub$kind; done
`
	u.Rerun(t, "^TestIDsOfService$|^TestOwners$", lackEnv+"=files")
}

func TestIDsOfService(t *testing.T) {
	if os.Getenv(lackEnv) == "" {
		t.Skip("TestAsUserOfService runs this")
	}
	ids, err := namespaces.OwnMap()
	want := []namespaces.Range{{Start: 1000000000, Count: 65536}}
	if diff := cmp.Diff(namespaces.IDMap{UIDs: want, GIDs: want}, ids); err != nil || diff != "" {
		t.Errorf("OwnMap: %v, (-want +got):\n%s", err, diff)
	}
}

// What this machine can't be made to lack.
func TestExplanations(t *testing.T) {
	sysctls := func(name, value string) func(string) string {
		return func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
	}
	none := sysctls("", "")
	cfg, containerd := configIn("/"), configIn("/")
	containerd.Settings.Engine = instance.KindContainerd
	probe := func(p namespaces.Probe, sysctl func(string) string) error {
		return failure.Join(userMode{&cfg}.explainProbe(namespaces.ProbePlan{}, p, false, sysctl))
	}
	ann := &user.User{Username: "ann", Uid: "1000"}
	few := []ownIDs{{"user", "/none", "subuids", 1000, []namespaces.Range{{Start: 1, Count: 2}}}}
	for _, tc := range []struct {
		name       string
		err        error
		says, hint string
	}{
		{"Debian's sysctl", explainNamespaces(unix.EPERM, sysctls("kernel/unprivileged_userns_clone", "0")), "operation not permitted", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"the kernel's limit", explainNamespaces(unix.ENOSPC, sysctls("user/max_user_namespaces", "0")), "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="},
		{"the kernel's limit of another kind", limitedNamespaces(sysctls("user/max_net_namespaces", "0")), "no net namespaces", "sysctl -w user.max_net_namespaces="},
		{"AppArmor", explainNamespaces(unix.EACCES, sysctls("kernel/apparmor_restrict_unprivileged_userns", "1")), "permission denied", "userns, }"},
		{"AppArmor that lets them be made", probe(namespaces.Probe{Mounts: "mount /proc: permission denied"}, sysctls("kernel/apparmor_restrict_unprivileged_userns", "1")), "permission denied", "userns, }"},
		{"in a container", probe(namespaces.Probe{Mounts: "mount /proc: operation not permitted"}, none), "mount /proc", "--privileged"},
		{"a full disk", probe(namespaces.Probe{Data: "mkdir x: no space left on device"}, none), `"/data" can't be written: mkdir x: no space left`, "free some space"},
		{"a disk without owners", probe(namespaces.Probe{Owners: "operation not permitted"}, none), `"/data": containers' files can't have owners`, "DOCKER_RD_HOME"},
		{"a containerd without overlayfs", failure.Join(userMode{&containerd}.explainProbe(namespaces.ProbePlan{}, namespaces.Probe{Overlay: "invalid argument"}, true, none)), `"/data": overlayfs does not work`, "DOCKER_RD_HOME"},
		{"NFS", cfg.refuseNFS(unix.Statfs_t{Type: unix.NFS_SUPER_MAGIC}), "NFS", "DOCKER_RD_HOME"},
		{"few ids of a service", judgeIDs(ann, "sss", few), `ann has 2 user ids for containers in the service "sss"`, "getsubids ann"},
	} {
		if failure.Code(tc.err) != failure.CodeRefused || !strings.Contains(tc.err.Error(), tc.says) {
			t.Errorf("%s: %v, want a refusal that says %q", tc.name, tc.err, tc.says)
			continue
		}
		if hint := failure.Hint(failure.Parts(tc.err)[0]); !strings.Contains(hint, tc.hint) {
			t.Errorf("%s: the hint is %q, without %q", tc.name, hint, tc.hint)
		}
	}
	if err := probe(namespaces.Probe{Overlay: "invalid argument"}, none); err == nil {
		t.Error("without any file system for containers there is no problem")
	}
	if err := failure.Join(userMode{&cfg}.explainProbe(namespaces.ProbePlan{}, namespaces.Probe{Overlay: "invalid argument"}, true, none)); err != nil {
		t.Errorf("with a storage driver that was chosen: %v", err)
	}
}

func TestUserSettingsAreRefused(t *testing.T) {
	if !rootless {
		t.Skip("this is about ordinary users' engines")
	}
	in := newInstance(t)
	for _, args := range [][]string{{"--live-restore"}, {"--exec-opt", "native.cgroupdriver=systemd"}} {
		in.cfg.Settings.EngineArgs = args
		if err := refusal(in.cfg); failure.Code(err) != failure.CodeRefused {
			t.Errorf("%q: Check = %v, want a refusal", args, err)
		}
	}
	in.cfg.Settings.EngineArgs = nil
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
	theirs := in.cfg.Paths.Data + "/volumes/data/_data/theirs"
	if info, err := os.Stat(theirs); err != nil || owner(info) == os.Geteuid() {
		t.Errorf("a directory that another user of a container has: %v", err)
	}
	if _, err := in.engine.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(theirs); err == nil {
		t.Error("the user can remove it without help: this test proves nothing")
	}
	if err := RemoveTree(in.cfg.Paths.Data); err != nil || files.Exists(in.cfg.Paths.Data) {
		t.Errorf("RemoveTree = %v", err)
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
	in.cfg.Settings.Localhost = []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}
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

// With control groups of its own, dockerd must not take itself for one without.
func TestDelegatedDockerd(t *testing.T) {
	for delegates, want := range map[bool]bool{false: true, true: false} {
		cfg := configIn(t.TempDir())
		m := userMode{&cfg}
		if delegates {
			m.scopes = &systemd.Manager{}
		}
		user, err := readDaemonOptions([]string{"--storage-driver", "vfs"}, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(m.args(user), "--rootless"); got != want {
			t.Errorf("delegates %v: arguments %q", delegates, m.args(user))
		}
		if got := slices.ContainsFunc(m.env(), func(kv string) bool { return strings.HasPrefix(kv, "ROOTLESSKIT_") }); got != want {
			t.Errorf("delegates %v: environment %q", delegates, m.env())
		}
	}
}

// The command of a hint gives the user good ids.
func TestWrongIDsAreMended(t *testing.T) {
	ann := &user.User{Username: "ann", Uid: "1000"}
	const own = 400000
	for name, tc := range map[string]struct{ file, says string }{
		"somebody else's":  {"1000:300000:10\nann:100000:65536\nbob:165535:65536\n", "overlap those of bob: the range that begins with 100000"},
		"two that overlap": {"ann:100000:65536\n1000:165535:10\n", "the range that begins with 165535 overlaps another"},
		"the same twice":   {"ann:100000:65536\n1000:100000:65536\n", "the range that begins with 100000 overlaps another"},
		"with the own":     {"ann:390000:65536\n", "the range that begins with 390000 overlaps another"},
		"before the own":   {"ann:334464:65536\nbob:334464:1\n", "overlap those of bob: the range that begins with 334464"},
	} {
		file := filepath.Join(t.TempDir(), "subuid")
		if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
			t.Fatal(err)
		}
		judge := func() error {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ids := ownIDs{"user", file, "subuids", own, nil}
			for line := range strings.Lines(string(data)) {
				who, rest, _ := strings.Cut(line, ":")
				var r namespaces.Range
				if _, err := fmt.Sscanf(rest, "%d:%d", &r.Start, &r.Count); err != nil {
					t.Fatal(err)
				}
				if who != "bob" {
					ids.ranges = append(ids.ranges, r)
				}
			}
			return judgeIDs(ann, namespaces.FilesSource, []ownIDs{ids})
		}
		err := judge()
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want a refusal that says %q", name, err, tc.says)
			continue
		}
		command := strings.TrimPrefix(strings.Trim(failure.Hint(err), "`"), "sudo ")
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Errorf("%s: %s: %v: %s", name, command, err, out)
		}
		if err := judge(); err != nil {
			t.Errorf("%s: after %s: %v", name, command, err)
		}
	}
}

func TestIDRanges(t *testing.T) {
	for count, want := range map[uint32]bool{200: false, 201: true} {
		ids := ownIDs{ranges: []namespaces.Range{{Start: 300, Count: 10}, {Start: 100, Count: count}}}
		if _, _, got := ids.conflict(&user.User{}); got != want {
			t.Errorf("%d ids from 100 on, and some from 300 on: not %v", count, want)
		}
	}
	file := t.TempDir() + "/subuid"
	ids := ownIDs{file: file}
	if got := ids.freeRange(); got != "100000-165535" {
		t.Errorf("without a file: %s", got)
	}
	if err := os.WriteFile(file, []byte("a:100000:65536\nb:300000:10\nnonsense\nc:165536:65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("300010-365545", ids.freeRange()); diff != "" {
		t.Error(diff)
	}
}
