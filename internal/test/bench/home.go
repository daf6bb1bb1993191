//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A home is a place where docker-rd and docker keep their files, away from the user's.
type home struct {
	bin, dir string
}

func (b *bench) newHome(name string) (*home, error) {
	h := &home{bin: b.bin, dir: filepath.Join(b.dir, name)}
	return h, os.MkdirAll(filepath.Join(h.dir, "docker"), 0o700)
}

// env is the environment without what leads docker elsewhere.
func (h *home) env() []string {
	env := []string{"HOME=" + h.dir, "DOCKER_CONFIG=" + filepath.Join(h.dir, "docker"), "DOCKER_RD_HOME=" + filepath.Join(h.dir, "rd"), "DOCKER_RD_DEFAULT_SOCKETS="}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if name != "HOME" && !strings.HasPrefix(name, "DOCKER_") && !strings.HasPrefix(name, "XDG_") {
			env = append(env, v)
		}
	}
	return env
}

// time returns how long a command takes, also one that fails. What it prints is thrown away.
func (h *home) time(ctx context.Context, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = h.env()
	cmd.Stdout = io.Discard
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin)
	if err != nil {
		return took, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args[:min(len(args), 4)], " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return took, nil
}

// rd runs docker-rd and returns how long it took.
func (h *home) rd(ctx context.Context, args ...string) (time.Duration, error) {
	return h.time(ctx, h.bin, args...)
}

// output runs a command and returns what it prints.
func (h *home) output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = h.env()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args[:min(len(args), 4)], " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
