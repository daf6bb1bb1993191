package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed templates/*
var templates embed.FS

// manifests writes the Homebrew formula and the winget manifests.
func (r *release) manifests(sums map[string]string) error {
	all, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"upper": strings.ToUpper,
	}).ParseFS(templates, "templates/*")
	if err != nil {
		return err
	}
	archives := map[string]map[string]string{} // by OS_ARCH: name, sha256, dir
	for _, t := range r.targets {
		name := r.name(t) + ".tar.gz"
		if t.OS == "windows" {
			name = r.name(t) + ".zip"
		}
		archives[t.OS+"_"+t.Arch] = map[string]string{"Name": name, "SHA256": sums[name], "Dir": r.name(t)}
	}
	data := map[string]any{
		"Version": r.Version, "Date": r.Date.Format("2006-01-02"), "Archives": archives,
		"URL":     homepage + "/releases/download/v" + r.Version,
		"Summary": summary, "Description": strings.ReplaceAll(description, "\n", " "), "Homepage": homepage, "License": license,
	}
	for _, t := range all.Templates() {
		if t.Name() == "" {
			continue
		}
		file, err := os.Create(filepath.Join(r.out, t.Name()))
		if err != nil {
			return err
		}
		if err := errors.Join(t.Execute(file, data), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

const sumsFile = "SHA256SUMS"

// sums returns the checksums of the release's files by name.
func (r *release) sums() (map[string]string, error) {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, e := range entries {
		if e.IsDir() || e.Name() == sumsFile {
			continue
		}
		data, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		sums[e.Name()] = hex.EncodeToString(sum[:])
	}
	return sums, nil
}

// checksums writes the checksums to a file for sha256sum.
func (r *release) checksums() error {
	sums, err := r.sums()
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return os.WriteFile(filepath.Join(r.out, sumsFile), []byte(b.String()), 0o644)
}
