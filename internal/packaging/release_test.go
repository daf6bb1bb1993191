package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// newRelease returns a release of all systems, with texts for programs.
func newRelease(t *testing.T) *release {
	t.Helper()
	t.Chdir("../..")
	r := &release{
		Version: "1.2.3", Commit: strings.Repeat("a", 40), Date: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), out: t.TempDir(),
		targets: []target{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"}},
	}
	write := func(path string, data []byte) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range completionFiles {
		write(filepath.Join(r.completionDir(), name), []byte("script\n"))
	}
	for _, to := range r.targets {
		write(filepath.Join(r.built(to), "docker-rd"+to.exe()), []byte("program"))
		if to.OS == "linux" {
			write(filepath.Join(r.built(to), "docker-rd-proxy"), []byte("proxy"))
		}
	}
	return r
}

// assemble makes all that takes no other program and returns the checksums.
func assemble(t *testing.T, r *release) map[string]string {
	t.Helper()
	for _, to := range r.targets {
		if err := r.archive(to); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := r.sums()
	if err == nil {
		err = errors.Join(r.manifests(sums), r.checksums())
	}
	if err != nil {
		t.Fatal(err)
	}
	if sums, err = r.sums(); err != nil {
		t.Fatal(err)
	}
	return sums
}

// The programs know what release they are: the linker says nothing of a variable that does not exist.
func TestBuild(t *testing.T) {
	r := newRelease(t)
	r.out, r.goTool, r.tags = t.TempDir(), "go", "grpcnotrace"
	here := target{runtime.GOOS, runtime.GOARCH}
	if err := r.build(here); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(r.built(here), "docker-rd"+here.exe()), "version", "--format", "{{.Version}} {{.Commit}} {{.Date}}").CombinedOutput()
	if want := r.Version + " " + r.Commit + " 2026-01-02T03:04:06Z\n"; err != nil || string(out) != want {
		t.Errorf("the program is %q, %v, not %q", out, err, want)
	}
}

// Two releases of one source are the same, whenever and wherever they are made.
func TestReproducible(t *testing.T) {
	r := newRelease(t)
	first := assemble(t, r)
	sums, err := os.ReadFile(filepath.Join(r.out, sumsFile))
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := os.Rename(r.out, again); err != nil {
		t.Fatal(err)
	}
	r.out = again
	late := time.Now().Add(time.Hour)
	err = filepath.WalkDir(again, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, late, late))
	})
	if err != nil {
		t.Fatal(err)
	}
	second := assemble(t, r)
	sumsAgain, err := os.ReadFile(filepath.Join(r.out, sumsFile))
	if err != nil || string(sumsAgain) != string(sums) {
		t.Errorf("the checksums differ: %v\n%s\n%s", err, sums, sumsAgain)
	}
	if len(first) != 6+4 {
		t.Errorf("there are %d files: %v", len(first), slices.Sorted(maps.Keys(first)))
	}
	for _, name := range slices.Sorted(maps.Keys(first)) {
		if first[name] != second[name] {
			t.Errorf("%s differs", name)
		}
	}
}

func TestArchives(t *testing.T) {
	r := newRelease(t)
	assemble(t, r)
	want := []string{"CHANGELOG.md", "LICENSE", "README.md", "completions/_docker-rd", "completions/docker-rd", "completions/docker-rd.fish", "completions/docker-rd.ps1"}

	file, err := os.Open(filepath.Join(r.out, "docker-rd_1.2.3_linux_arm64.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for archive := tar.NewReader(compressed); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(r.Date) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s is of %v, %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		got[strings.TrimPrefix(h.Name, "docker-rd_1.2.3_linux_arm64/")] = h.Mode
	}
	for _, name := range append(want, "docker-rd", "docker-rd-proxy") {
		mode := int64(0o644)
		if strings.HasPrefix(name, "docker-rd") {
			mode = 0o755
		}
		if got[name] != mode {
			t.Errorf("%s has mode %o in the archive", name, got[name])
		}
	}

	archive, err := zip.OpenReader(filepath.Join(r.out, "docker-rd_1.2.3_windows_amd64.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	names := map[string]bool{}
	for _, f := range archive.File {
		names[strings.TrimPrefix(f.Name, "docker-rd_1.2.3_windows_amd64/")] = true
	}
	for _, name := range append(want, "docker-rd.exe") {
		if !names[name] {
			t.Errorf("%s is not in the zip: %v", name, names)
		}
	}
}

// The checksums are those that sha256sum finds, and the manifests have the archives'.
func TestManifests(t *testing.T) {
	r := newRelease(t)
	sums := assemble(t, r)
	cmd := exec.Command("sha256sum", "--quiet", "--check", "SHA256SUMS")
	cmd.Dir = r.out
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	formula, installer := read("docker-rd.rb"), read("DockerRD.DockerRD.installer.yaml")
	for _, to := range r.targets {
		name, in, sum := r.name(to)+".tar.gz", formula, sums[r.name(to)+".tar.gz"]
		if to.OS == "windows" {
			name, in = r.name(to)+".zip", installer
			sum = strings.ToUpper(sums[name])
		}
		if !strings.Contains(in, "/v1.2.3/"+name) || sum == "" || !strings.Contains(in, sum) {
			t.Errorf("%s with %s is missing in\n%s", name, sum, in)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if !strings.HasSuffix(name, ".gz") && !strings.HasSuffix(name, ".zip") && strings.Contains(read(name), "<no value>") {
			t.Errorf("%s has gaps", name)
		}
	}
}

// The manifests have what winget's schema requires.
func TestWingetForm(t *testing.T) {
	r := newRelease(t)
	assemble(t, r)
	for kind, required := range map[string][]string{
		"DockerRD.DockerRD.yaml":              {"DefaultLocale"},
		"DockerRD.DockerRD.locale.en-US.yaml": {"PackageLocale", "Publisher", "PackageName", "License", "ShortDescription"},
		"DockerRD.DockerRD.installer.yaml":    {"Installers", "InstallerType", "NestedInstallerType"},
	} {
		data, err := os.ReadFile(filepath.Join(r.out, kind))
		var manifest map[string]any
		if err := errors.Join(err, yaml.Unmarshal(data, &manifest)); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for _, field := range append(required, "PackageIdentifier", "PackageVersion", "ManifestType", "ManifestVersion") {
			if value := manifest[field]; value == nil || value == "" {
				t.Errorf("%s has no %s", kind, field)
			}
		}
		if _, ok := manifest["PackageVersion"].(string); !ok { // such as 1.10, a number
			t.Errorf("%s: the version is no text: %v", kind, manifest["PackageVersion"])
		}
	}
}

func TestSBOM(t *testing.T) {
	r := newRelease(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, linux := filepath.Join(r.built(r.targets[0]), "docker-rd"), r.targets[0]
	if err := errors.Join(os.Remove(program), os.Symlink(self, program), r.sbom(linux)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(r.out, "docker-rd_1.2.3_linux_amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var b bom
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if b.Metadata.Component.PURL != "pkg:golang/github.com/docker-rd/docker-rd@v1.2.3" || b.Components[0].Name != "std" {
		t.Errorf("the SBOM says %+v", b)
	}
}

func TestPackageVersion(t *testing.T) {
	for version, want := range map[string]string{
		"1.2.3":                "1.2.3",
		"1.2.3-rc.1":           "1.2.3~rc.1",
		"1.2.3-4-gabcdef0":     "1.2.3+4.gabcdef0",
		"0b1c2d3-dirty":        "0.0.0~git20260102030406.0b1c2d3.dirty",
		"1234567":              "0.0.0~git20260102030406.1234567",
		"1.2.3-4-gabcde-dirty": "1.2.3+4.gabcde.dirty",
	} {
		r := &release{Version: version, Date: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)}
		if got := r.packageVersion(); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
