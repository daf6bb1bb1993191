//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakePath returns a PATH on which only the named system programs, and the fake ones with
// their shell code, are found.
func fakePath(t *testing.T, system []string, fake map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range system {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, code := range fake {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+code), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// script runs a script of the project with a PATH and returns what it prints.
func script(t *testing.T, path, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join("../../scripts", name), args...)
	cmd.Env = append(os.Environ(), "PATH="+path)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Which Go it takes is said where there is none, or an old one.
func TestCheckGo(t *testing.T) {
	system := []string{"sed", "dirname", "sort", "head"}
	for _, test := range []struct {
		name, code string
		ok         bool
		want       string
	}{
		{"none", "", false, "missing: Go 1."},
		{"Debian 12's", "echo go1.19.8", false, "Go 1.19.8 is too old: docker rd takes Go 1."},
		{"one that can fetch it", `case $2 in GOVERSION) echo go1.22.1;; *) echo auto;; esac`, true, "your Go 1.22.1 fetches that by itself"},
		{"one that must not fetch it", `case $2 in GOVERSION) echo go1.22.1;; *) echo local;; esac`, false, "Go 1.22.1 is too old"},
		{"a newer one", "echo go1.99.0", true, ""},
		{"one with experiments", "echo 'go1.99.0 X:nodwarf5'", true, ""},
	} {
		fake := map[string]string{}
		if test.code != "" {
			fake["go"] = test.code
		}
		out, err := script(t, fakePath(t, system, fake), "check-go")
		if (err == nil) != test.ok || !strings.Contains(out, test.want) || (test.want == "" && out != "") {
			t.Errorf("%s: %v, %q", test.name, err, out)
		}
		if !test.ok && !strings.Contains(out, "\nhint: install Go") {
			t.Errorf("%s: no hint in %q", test.name, out)
		}
	}
}

// What Debian's apt-get prints where another process holds a lock.
const locked = `echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 4711 (apt-get)" >&2
echo "E: Unable to lock directory /var/lib/apt/lists/" >&2
exit 100
`

// A lock of apt is waited for; other failures are reported.
func TestInstallDepsWaits(t *testing.T) {
	system := []string{"id", "env", "grep", "sed", "sleep", "mktemp", "rm", "cat", "sudo"}
	if os.Geteuid() == 0 {
		system = system[:len(system)-1]
	} else {
		t.Skip("as an ordinary user it runs sudo, which may ask for a password")
	}
	calls := filepath.Join(t.TempDir(), "calls")
	path := fakePath(t, system, map[string]string{"apt-get": "echo \"$*\" >>" + calls + "\n[ -e " + calls + ".free ] || { : >" + calls + ".free; " + locked + "}\n"})
	out, err := script(t, path, "install-deps")
	if err != nil || strings.Count(out, "waiting: Could not get lock") != 1 {
		t.Errorf("with a lock that becomes free: %v, %q", err, out)
	}
	got, _ := os.ReadFile(calls)
	if n := strings.Count(string(got), "update"); n != 2 || !strings.Contains(string(got), "install -y --no-install-recommends docker.io") {
		t.Errorf("apt-get was called with %q", got)
	}

	path = fakePath(t, system, map[string]string{"apt-get": "echo 'E: Unable to locate package docker.io' >&2; exit 100"})
	if out, err := script(t, path, "install-deps"); err == nil || !strings.Contains(out, "Unable to locate package") {
		t.Errorf("with a package that is missing: %v, %q", err, out)
	}
}

// An ordinary user gets fuse-overlayfs only where the kernel's overlayfs does not do.
func TestInstallDepsOverlay(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for unshare, want := range map[string]bool{"exit 0": false, "exit 1": true} {
		path := fakePath(t, []string{"env", "mktemp", "mkdir", "rm", "cat"}, map[string]string{
			"id": "echo 1000", "unshare": unshare, "sudo": `exec "$@"`, "apt-get": ":",
		})
		out, err := script(t, path, "install-deps")
		if err != nil || strings.Contains(out, "fuse-overlayfs") != want {
			t.Errorf("unshare: %s: %v, %q", unshare, err, out)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("HOME")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// containsLine reports whether a line of the text ends with suffix.
func containsLine(text, suffix string) bool {
	for line := range strings.Lines(text) {
		if strings.HasSuffix(strings.TrimSpace(line), suffix) {
			return true
		}
	}
	return false
}
