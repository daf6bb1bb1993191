package processes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Whoever runs a program can give it any name and any environment.
func TestOthersMarkers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run programs as another user")
	}
	dir, err := os.MkdirTemp("", "scan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	engine := Engine{UID: "scan-" + filepath.Base(dir), Daemon: "scan-daemon"}
	run := func(sub string, mode os.FileMode, uid uint32) int {
		path := filepath.Join(dir, sub, engine.Daemon)
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "60")
		cmd.Env = []string{MarkerEnv + "=" + engine.UID}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	const nobody = 65534
	run("user", 0o755, nobody)
	run("setuid", 0o755|os.ModeSetuid, nobody)

	f, err := engine.Scan(Hierarchies{})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Procs) > 0 || f.Daemon != nil {
		t.Errorf("the processes of another user are taken for the engine's: %s", Describe(f.Procs))
	}
	other := Engine{UID: engine.UID + "-2", Daemon: engine.Daemon}
	if f, err = other.Scan(Hierarchies{}); err != nil || slices.ContainsFunc(f.Others, func(p Proc) bool { return p.Engine == engine.UID }) {
		t.Errorf("they are taken for another engine's: %s, %v", Describe(f.Others), err)
	}

	pid := run("root", 0o755, 0)
	if f, err = engine.Scan(Hierarchies{}); err != nil || f.Daemon == nil || f.Daemon.ID.PID != pid || len(f.Procs) != 1 {
		t.Errorf("of the engine's own process %d these are found: %s, %v", pid, Describe(f.Procs), err)
	}
}

// In a pid namespace, as of a container, the number 2 is not that of the kernel's threads.
func TestSecondProcess(t *testing.T) {
	const inside = "SCAN_INSIDE"
	engine := Engine{UID: "second", Daemon: "sleep"}
	if os.Getenv(inside) != "" {
		f, err := engine.Scan(Hierarchies{})
		if err != nil || f.Daemon == nil || f.Daemon.ID.PID != 2 {
			t.Errorf("process 2 is the engine's, and these are found: %s, %v", Describe(f.Procs), err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("a pid namespace is root's to make")
	}
	script := fmt.Sprintf("env -i %s=%s %s 60 & until grep -q sleep /proc/2/comm; do :; done; exec \"$0\" -test.run '^%s$'",
		MarkerEnv, engine.UID, "/bin/sleep", t.Name())
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
