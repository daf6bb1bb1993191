//go:build unix

package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli-plugins/metadata"
)

// makeTarget runs make in the project, with the umask of hardened systems.
func makeTarget(t *testing.T, args ...string) {
	t.Helper()
	t.Cleanup(func() { // what was built is as it would be otherwise
		for _, path := range []string{"../../bin", "../../bin/docker-rd", "../../bin/docker-rd-proxy"} {
			_ = os.Chmod(path, 0o755)
		}
	})
	cmd := exec.Command("sh", append([]string{"-c", `umask 077 && exec make "$@"`, "make", "-C", "../..", "--no-print-directory"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %v: %v\n%s", args, err, out)
	}
}

// checkMetadata checks that a release says what it is before it initializes what only commands need.
func checkMetadata(t *testing.T, program string) {
	t.Helper()
	version, err := exec.Command(program, "version", "--format", "{{.Version}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, metadata.MetadataSubcommandName)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var initialized strings.Builder
	cmd.Stderr = &initialized
	answer, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, initialized.String())
	}
	var got metadata.Metadata
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != strings.TrimSpace(string(version)) || got.SchemaVersion != "0.1.0" || got.Vendor == "" {
		t.Errorf("version %s says that it is %s", version, answer)
	}
	for _, late := range []string{"github.com/docker/cli/", "github.com/distribution/reference ", "google.golang.org/protobuf/proto "} {
		if strings.Contains(initialized.String(), "init "+late) {
			t.Errorf("%s is initialized first", late)
		}
	}
}

// forAll checks that everybody may read what is installed.
func forAll(t *testing.T, dest string) {
	t.Helper()
	err := filepath.WalkDir(dest, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dest || entry.Type() == fs.ModeSymlink {
			return err
		}
		info, err := entry.Info()
		if err == nil && (info.Mode().Perm()&0o004 == 0 || entry.IsDir() && info.Mode().Perm()&0o001 == 0) {
			t.Errorf("%q has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A packager's DESTDIR gets all files, and the links lead to where they will be.
func TestInstallDestdir(t *testing.T) {
	for prefix, plugins := range map[string]string{
		"/usr/local": "/usr/local/lib/docker/cli-plugins",
		"/usr":       "/usr/lib/docker/cli-plugins",
		"/opt/rd":    "/usr/local/lib/docker/cli-plugins", // docker does not look in /opt
	} {
		dest := t.TempDir()
		makeTarget(t, "install", "DESTDIR="+dest, "PREFIX="+prefix)
		forAll(t, dest)
		program := prefix + "/lib/docker-rd/docker-rd"
		for _, link := range []string{prefix + "/bin/docker-rd", plugins + "/docker-rd"} {
			if to, err := os.Readlink(filepath.Join(dest, link)); err != nil || to != program {
				t.Errorf("with prefix %q %q leads to %q: %v", prefix, link, to, err)
			}
		}
		for _, path := range []string{program, program + "-proxy"} {
			if info, err := os.Stat(filepath.Join(dest, path)); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("%q: %v, %v", path, info, err)
			}
		}
		for _, path := range []string{"bash-completion/completions/docker-rd", "zsh/site-functions/_docker-rd", "fish/vendor_completions.d/docker-rd.fish", "man/man1/docker-rd.1", "man/man1/docker-rd-start.1"} {
			if info, err := os.Stat(filepath.Join(dest, prefix, "share", path)); err != nil || info.Size() == 0 {
				t.Errorf("%q: %v, %v", path, info, err)
			}
		}
		if out, err := exec.Command(filepath.Join(dest, program), "version").CombinedOutput(); err != nil {
			t.Errorf("version: %v: %s", err, out)
		}
		checkMetadata(t, filepath.Join(dest, program))
		makeTarget(t, "uninstall", "DESTDIR="+dest, "PREFIX="+prefix)
		err := filepath.WalkDir(dest, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				t.Errorf("after uninstall there is %q", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Uninstall leaves what was there before install.
func TestUninstall(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "a prefix", "bin")
	if err := os.MkdirAll(there, 0o755); err != nil {
		t.Fatal(err)
	}
	own := []string{"PREFIX=" + filepath.Dir(there), "PLUGINS=" + filepath.Join(dir, "docker", "cli-plugins")}
	for range 2 { // the second one is an upgrade
		makeTarget(t, append(own, "install")...)
	}
	makeTarget(t, append(own, "uninstall")...)
	if _, err := os.Stat(there); err != nil {
		t.Error(err)
	}
	var left []string
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		left = append(left, path)
		return err
	})
	if len(left) != 3 {
		t.Errorf("left are %q, want nothing but %q", left, there)
	}
}

// An ordinary user's plugin goes to the Docker configuration in force, root's to everybody's.
func TestInstallFor(t *testing.T) {
	own := filepath.Join(t.TempDir(), "docker")
	for uid, want := range map[string]string{
		"0":    "/usr/local/lib/docker/cli-plugins/docker-rd",
		"1000": own + "/cli-plugins/docker-rd",
	} {
		cmd := exec.Command("make", "-C", "../..", "-n", "install")
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+own,
			"PATH="+fakePath(t, nil, map[string]string{"id": "echo " + uid})+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !containsLine(string(out), `docker-rd" "`+want+`"`) {
			t.Errorf("uid %s installs\n%s", uid, out)
		}
	}
}
