package realengine

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// BuiltEnv names a directory in which [Build] has put what the tests run: who has no Go, an
// ordinary user whom root runs the tests as, has that.
const BuiltEnv = "DOCKER_RD_TEST_BUILT"

const (
	proxyName  = "docker-rd-proxy"
	rootFSName = "rootfs.tar"
)

// Build builds the port proxy, and the root file system of the tests' images: a tar archive
// with the one program "/prog" in it, see prog/main.go for what it can do.
func Build(dir string) error {
	if err := build(filepath.Join(dir, proxyName), "../../../cmd/docker-rd-proxy"); err != nil {
		return err
	}
	rootFS, err := buildRootFS(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, rootFSName), rootFS, 0o644)
}

// Built returns the paths of what [Build] makes: in dir, unless it was made before.
func Built(dir string) (proxy, rootFS string, err error) {
	if before := os.Getenv(BuiltEnv); before != "" {
		dir = before
	} else if err := Build(dir); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, proxyName), filepath.Join(dir, rootFSName), nil
}

// build builds a program from a directory of this package's.
func build(out, from string) error {
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = filepath.Join(filepath.Dir(here), from)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", filepath.Base(out), err, said)
	}
	return nil
}

// RootFS returns the root file system of the tests' images, see [Build]. Dir is for its
// binary.
func RootFS(dir string) ([]byte, error) {
	if before := os.Getenv(BuiltEnv); before != "" {
		return os.ReadFile(filepath.Join(before, rootFSName))
	}
	return buildRootFS(dir)
}

func buildRootFS(dir string) ([]byte, error) {
	bin := filepath.Join(dir, "prog")
	if err := build(bin, "prog"); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(bin)
	if err != nil {
		return nil, err
	}
	return Tar(map[string][]byte{"prog": data})
}

// Tar returns an archive of executable files.
func Tar(files map[string][]byte) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, data := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// ImageArchive returns an image of a root file system as `docker save` would write it. It is
// always the same for the same arguments. Made is a label.
func ImageArchive(rootFS []byte, name, made string) ([]byte, error) {
	sum := func(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": "2026-01-02T03:04:05Z",
		"config": map[string]any{"Cmd": []string{"/prog", "sleep"}, "Labels": map[string]string{"made": made}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(rootFS)}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": sum(config) + ".json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, file := range []struct {
		name string
		data []byte
	}{{sum(config) + ".json", config}, {"layer.tar", rootFS}, {"manifest.json", manifest}} {
		if err := w.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(file.data); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}
