package processes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
)

const id64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestHierarchies(t *testing.T) {
	const hybrid = `21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 21 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/my\040freezer rw shared:16 - cgroup cgroup rw,freezer
34 30 0:29 / /elsewhere rw shared:16 - cgroup cgroup rw,freezer
`
	for _, tc := range []struct {
		name, in string
		want     Hierarchies
	}{
		{"none", "21 1 254:0 / / rw - ext4 /dev/vda rw\n", Hierarchies{}},
		{"version 2", "30 21 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n", Hierarchies{V2: "/sys/fs/cgroup"}},
		{"hybrid", hybrid, Hierarchies{V2: "/sys/fs/cgroup/unified",
			V1:          []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/my freezer"},
			controllers: map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "freezer": "/sys/fs/cgroup/my freezer"}}},
	} {
		infos, err := mountinfo.GetMountsFromReader(strings.NewReader(tc.in), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
		if err != nil {
			t.Fatal(err)
		}
		got := hierarchiesOf(infos)
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(Hierarchies{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestCgroupPaths(t *testing.T) {
	file := "12:freezer:/else/" + id64 + "/inner\n11:cpu:/else/" + id64 + "\n5:name=systemd:/system.slice/docker-" + id64 + ".scope\n" +
		"4:pids:/user.slice\n0::/\n"
	want := []string{"/else/" + id64, "/system.slice/docker-" + id64 + ".scope"}
	if diff := cmp.Diff(want, cgroupPaths(file, id64)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := cgroupPaths("1:x\n\nnonsense\n", id64); got != nil {
		t.Errorf("nonsense: %q", got)
	}
}

func TestEnvValue(t *testing.T) {
	env := []byte("A=1\x00DOCKER_RD_ENGINE=a=b\x00nonsense\x00B=\x00")
	for name, want := range map[string]string{"DOCKER_RD_ENGINE": "a=b", "ENGINE": "", "A": "1", "B": "", "nonsense": "", "": ""} {
		if got := envValue(env, name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
