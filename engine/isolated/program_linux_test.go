package isolated

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker-rd/docker-rd/engine/processes"
)

// An engine that uses the same directories is recognized, and one in a container, which only has
// directories of the same names, is not.
func TestSquatter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it takes mounts")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, commDockerd)
	must(t, os.WriteFile(program, []byte("#!/bin/sh\necho runs; read -r _\n"), 0o755))
	home := filepath.Join(dir, "home")
	must(t, os.MkdirAll(home, 0o755))
	cfg := configIn(home)
	cfg.UID = "test-squatter"
	for _, tc := range []struct {
		name, before string
		want         bool
	}{
		{"here", "", true},
		{"in a container", "mount -t tmpfs tmpfs " + home, false},
	} {
		for _, exist := range []bool{false, true} {
			if exist {
				must(t, os.MkdirAll(cfg.Paths.Data, 0o755))
			}
			cmd := exec.Command("unshare", "--mount", "sh", "-ec", tc.before+"\nexec "+program+" --data-root "+cfg.Paths.Data)
			cmd.Env = append(os.Environ(), processes.MarkerEnv+"=test-squatter-2")
			stdin, err := cmd.StdinPipe()
			must(t, err)
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			said, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil || said != "runs\n" {
				t.Errorf("%q, %v", said, err)
			}
			if got := cfg.squatter(cfg.scan()); (got != nil) != tc.want {
				t.Errorf("%s, with a data directory: %t: found %+v", tc.name, exist, got)
			}
			_, _ = io.WriteString(stdin, "\n")
			must(t, cmd.Wait())
		}
		must(t, os.RemoveAll(cfg.Paths.Data))
	}
}
