package main

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == writerCommand {
		writerMain(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// TestNothingIsLost is a short run; `make stress-config` does the long ones.
func TestNothingIsLost(t *testing.T) {
	o := options{writers: 3, saves: 60}
	for _, mode := range allModes {
		t.Run(mode, func(t *testing.T) {
			if mode == modeDocker {
				if _, err := exec.LookPath("docker"); err != nil {
					t.Skip("docker is not installed")
				}
			}
			r, err := stress(t.Context(), t.TempDir(), mode, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", r)
			if r.survived < 1 || r.survived > r.writes {
				t.Errorf("%d of %d writes survived", r.survived, r.writes)
			}
			if mode != modeControl && r.edits == 0 {
				t.Error("nothing was edited beside the writers")
			}
			lossless := mode == modeControl || mode == modeOurs && runtime.GOOS == "linux"
			if lossless && r.survived != r.writes {
				t.Errorf("%d of %d writes survived, want all", r.survived, r.writes)
			}
		})
	}
}

func TestUnknownMode(t *testing.T) {
	if _, err := stress(t.Context(), t.TempDir(), "none", options{}); err == nil {
		t.Error("an unknown mode was run")
	}
}
