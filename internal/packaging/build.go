package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const versionPackage = "github.com/docker-rd/docker-rd/internal/version/release"

// build builds the target's programs. The proxy serves ports of Linux engines only.
func (r *release) build(t target) error {
	programs := []string{"./cmd/docker-rd"}
	if t.OS == "linux" {
		programs = append(programs, "./cmd/docker-rd-proxy")
	}
	for _, program := range programs {
		out := filepath.Join(r.built(t), filepath.Base(program)+t.exe())
		cmd := r.run(r.goTool, "build", "-o", out, "-tags", r.tags, "-trimpath", "-buildvcs=false", "-ldflags",
			fmt.Sprintf("-s -w -buildid= -X %[1]s.Version=%[2]s -X %[1]s.Commit=%[3]s -X %[1]s.Date=%[4]s",
				versionPackage, r.Version, r.Commit, r.Date.Format(time.RFC3339)), program)
		cmd.Env = append(cmd.Env, "GOOS="+t.OS, "GOARCH="+t.Arch)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s for %s: %w", program, t, err)
		}
	}
	return nil
}

// run returns a command for reproducible output, with our standard output and error.
func (r *release) run(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.Date.Unix()))
	return cmd
}

// completionDir is the directory of the completion scripts.
func (r *release) completionDir() string { return filepath.Join(r.out, "build", "completions") }

var completionFiles = map[string]string{
	"bash": "docker-rd", "zsh": "_docker-rd", "fish": "docker-rd.fish", "powershell": "docker-rd.ps1",
}

func (r *release) completions() error {
	if err := os.MkdirAll(r.completionDir(), 0o755); err != nil {
		return err
	}
	for _, shell := range slices.Sorted(maps.Keys(completionFiles)) {
		var script bytes.Buffer
		cmd := r.run(r.goTool, "run", "-tags", r.tags, "./cmd/docker-rd", "completion", shell)
		cmd.Stdout = &script
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("completion for %s: %w", shell, err)
		}
		if err := os.WriteFile(filepath.Join(r.completionDir(), completionFiles[shell]), script.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
