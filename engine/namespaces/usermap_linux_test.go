package namespaces

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	RunHelper()
	os.Exit(m.Run())
}

func TestSubids(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if all, err := ReadSubordinates(file); err != nil || all != nil {
		t.Errorf("without a file: %v, %v", all, err)
	}
	if err := os.WriteFile(file, []byte("other:1:2\nme:100000:65536\n1000:300000:10\nme:x:1\nme:5:0\n\nme:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := ReadSubordinates(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Subordinate{{"other", Range{1, 2}}, {"me", Range{100000, 65536}}, {"1000", Range{300000, 10}}}, all); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	me := &user.User{Username: "me", Uid: "1000"}
	if all[0].Of(me) || !all[1].Of(me) || !all[2].Of(me) {
		t.Errorf("of %v, not the second and third are %s's", all, me.Username)
	}
	if diff := cmp.Diff([]Range{{100000, 65536}}, parseGetsubids("0: me 100000 65536\nnonsense\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want := strings.Fields("0 1000 1 1 100000 65536 65537 300000 10")
	if diff := cmp.Diff(want, mapArgs(1000, []Range{{100000, 65536}, {300000, 10}})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := Count([]Range{{0, 1 << 31}, {1 << 31, 1 << 31}}); n != 1<<32 {
		t.Errorf("Count = %d", n)
	}
}

// limitEnv tells the test that it runs where there can be no user namespace.
const limitEnv = "NAMESPACES_TEST_LIMIT"

// What can be tried without more ids than one's own is tried here, as whoever runs the tests.
func TestProbe(t *testing.T) {
	iptables, err := exec.LookPath("iptables")
	if err != nil {
		iptables = "/usr/sbin/iptables" // where an ordinary user does not look
	}
	data := t.TempDir()
	p, err := ProbeUser(IDMap{}, ProbePlan{Iptables: iptables})
	if os.Getenv(limitEnv) != "" {
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("ProbeUser = %v, want the kernel's limit", err)
		}
		return
	}
	if err != nil || p != (Probe{}) {
		t.Errorf("ProbeUser = %+v, %v: %s", p, err, "this machine can't run an ordinary user's engine")
	}
	// With one id, files can't have other owners.
	p, err = ProbeUser(IDMap{}, ProbePlan{Iptables: "/no/iptables", Data: data})
	if err != nil || p.Iptables == "" || p.Owners == "" || p.Mounts != "" || p.Overlay != "" {
		t.Errorf("without iptables and ids: %+v, %v", p, err)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("in the data directory is left: %v, %v", left, err)
	}

	// The limit is one of each user namespace.
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c",
		`echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -test.run='^TestProbe$'`, "/proc/self/exe")
	cmd.Args[len(cmd.Args)-1], _ = os.Executable()
	cmd.Env = append(os.Environ(), limitEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("where there can be none: %v\n%s", err, out)
	}
}
