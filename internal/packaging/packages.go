package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The description in packages.
const (
	summary     = "Your own Docker engines, by name"
	homepage    = "https://github.com/docker-rd/docker-rd"
	maintainer  = "docker rd developers <https://github.com/docker-rd/docker-rd/issues>"
	license     = "Apache-2.0"
	programDir  = "/usr/lib/docker-rd"
	description = `Docker CLI plugin that starts Docker engines by name, side by side and isolated,
gives each a Docker context of its own, and mirrors what is in them into a file.`
)

// recommends are the programs for engines of our own. An adopted engine needs none.
var recommends = map[string][]string{
	"deb": {"docker.io | docker-ce", "iptables", "slirp4netns", "uidmap"},
	"rpm": {"iptables", "slirp4netns", "shadow-utils"},
}

// zshDirs are where the distributions' zsh looks.
var zshDirs = map[string]string{"deb": "/usr/share/zsh/vendor-completions", "rpm": "/usr/share/zsh/site-functions"}

// content is a file of a package, as nfpm takes it.
type content struct {
	Src  string         `json:"src,omitempty"`
	Dst  string         `json:"dst"`
	Type string         `json:"type,omitempty"`
	Info map[string]any `json:"file_info,omitempty"`
}

// packages makes the target's Debian package and RPM.
func (r *release) packages(t target) error {
	scratch := filepath.Join(r.out, "build", "packages")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm"} {
		contents, err := r.contents(t, format, scratch)
		if err != nil {
			return err
		}
		// YAML, which nfpm reads, takes JSON too.
		config, err := json.Marshal(map[string]any{
			"name": "docker-rd", "arch": t.Arch, "platform": "linux",
			"version": r.packageVersion(), "version_schema": "none",
			"section": "admin", "maintainer": maintainer, "description": summary + "\n" + description,
			"homepage": homepage, "license": license, "mtime": r.Date,
			"recommends": recommends[format], "contents": contents,
			"rpm": map[string]any{"summary": summary, "buildhost": "localhost"},
		})
		if err != nil {
			return err
		}
		path := filepath.Join(scratch, "nfpm.yaml")
		if err := os.WriteFile(path, config, 0o644); err != nil {
			return err
		}
		cmd := r.run(r.goTool, "tool", "-modfile=scripts/nfpm.mod", "nfpm", "package",
			"--config", path, "--packager", format, "--target", filepath.Join(r.out, r.name(t)+"."+format))
		cmd.Stdout = nil
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("nfpm for %s: %w", format, err)
		}
	}
	return nil
}

// described matches git describe's output for a commit after a tag: TAG-COMMITS-gHASH.
var described = regexp.MustCompile(`^(.*)-(\d+-g[0-9a-f]+.*)$`)

// packageVersion is the version in a form that both packagers sort: a release candidate before its
// release, a commit after its tag, and a commit without a tag before everything.
func (r *release) packageVersion() string {
	dots := strings.NewReplacer("-", ".")
	if !regexp.MustCompile(`^\d+\.`).MatchString(r.Version) {
		return fmt.Sprintf("0.0.0~git%s.%s", r.Date.Format("20060102150405"), dots.Replace(r.Version))
	}
	tag, commits := r.Version, ""
	if m := described.FindStringSubmatch(r.Version); m != nil {
		tag, commits = m[1], "+"+dots.Replace(m[2])
	}
	return strings.Replace(tag, "-", "~", 1) + commits
}

// contents are the files of a package.
func (r *release) contents(t target, format, scratch string) ([]content, error) {
	file := func(src, dst string, mode int) content {
		return content{Src: src, Dst: dst, Info: map[string]any{"mode": mode, "mtime": r.Date}}
	}
	link := func(to, at string) content {
		return content{Src: to, Dst: at, Type: "symlink", Info: map[string]any{"mtime": r.Date}}
	}
	// RPM removes no directory that no package owns.
	dir := func(at string) content {
		return content{Dst: at, Type: "dir", Info: map[string]any{"mode": 0o755, "mtime": r.Date}}
	}
	built, completions := r.built(t), r.completionDir()
	list := []content{
		dir(programDir), dir("/usr/share/doc/docker-rd"),
		file(filepath.Join(built, "docker-rd"), programDir+"/docker-rd", 0o755),
		file(filepath.Join(built, "docker-rd-proxy"), programDir+"/docker-rd-proxy", 0o755),
		link("../lib/docker-rd/docker-rd", "/usr/bin/docker-rd"),
		link("../../docker-rd/docker-rd", "/usr/lib/docker/cli-plugins/docker-rd"),
		file(filepath.Join(completions, "docker-rd"), "/usr/share/bash-completion/completions/docker-rd", 0o644),
		file(filepath.Join(completions, "_docker-rd"), zshDirs[format]+"/_docker-rd", 0o644),
		file(filepath.Join(completions, "docker-rd.fish"), "/usr/share/fish/vendor_completions.d/docker-rd.fish", 0o644),
		file("LICENSE", "/usr/share/doc/docker-rd/copyright", 0o644),
		file("README.md", "/usr/share/doc/docker-rd/README.md", 0o644),
		file("CHANGELOG.md", "/usr/share/doc/docker-rd/CHANGELOG.md", 0o644),
	}
	pages, err := filepath.Glob("docs/man/*.1")
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		compressed := filepath.Join(scratch, filepath.Base(page)+".gz")
		if err := compress(page, compressed); err != nil {
			return nil, err
		}
		list = append(list, file(compressed, path.Join("/usr/share/man/man1", filepath.Base(compressed)), 0o644))
	}
	return list, nil
}

// compress makes a gzip file without a name or a time.
func compress(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o644)
}
