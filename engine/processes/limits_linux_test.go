package processes

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Version 2, as far as files in its place show: controllers are enabled from the root down, and
// what is not limited is left alone. Version 1, and a kernel's own version 2, have a script.
func TestLimitsVersion2(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	h, e := Hierarchies{V2: root}, Engine{UID: "a"}
	write("cgroup.controllers", "cpuset cpu memory pids\n")
	write("cgroup.subtree_control", "memory pids\n")
	for _, name := range []string{"cgroup.subtree_control", "containers/memory.max", "containers/pids.max"} {
		write(filepath.Join("docker-rd-a", name), "\n")
	}
	if err := e.SetLimits(h, Limits{Memory: 1 << 30, Pids: 50}, false); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"cgroup.subtree_control":             "memory pids\n", // they are enabled already
		"docker-rd-a/cgroup.subtree_control": "+pidsry",       // +memory, and over it +pids
		"docker-rd-a/containers/memory.max":  "1073741824",
		"docker-rd-a/containers/pids.max":    "50",
	} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(data) != want {
			t.Errorf("%s: %q, %v, want %q", name, data, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "docker-rd-a", "cpu.max")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cpu.max: %v, want none", err)
	}
	write("docker-rd-a/cpu.max", "")
	if err := e.SetLimits(h, Limits{NanoCPUs: 100_000 * 1e9}, false); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(root, "docker-rd-a", "cpu.max")); string(data) != "10000000000 100000" {
		t.Errorf("cpu.max of a hundred thousand processors: %q", data)
	}
	if err := e.SetLimits(h, Limits{}, true); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(root, "docker-rd-a", "containers", "pids.max")); string(data) != "max" && string(data) != "max\n" {
		t.Errorf("pids.max without a limit: %q", data)
	}
	write("cgroup.controllers", "memory\n")
	if e, ok := errors.AsType[*LimitError](h.Lacks("cpu")); !ok || e.Controller != "cpu" {
		t.Errorf("without the controller: %v", e)
	}
}

// Below a group that is delegated, the engine's group has all controllers of that.
func TestDelegatedControllers(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"cgroup.controllers": "memory pids\n", "cgroup.subtree_control": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := enableAll(dir); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); string(data) != "+pidsry" { // +memory, and over it +pids
		t.Errorf("enabled is %q", data)
	}
	h := Hierarchies{V2: dir}
	if h.Lacks("pids") != nil || h.Lacks("cpu") == nil {
		t.Error("the group has pids, and not cpu")
	}
}
