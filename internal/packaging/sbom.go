package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// A bom is a CycloneDX software bill of materials (https://cyclonedx.org/docs/1.5/json).
type bom struct {
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Ref     string `json:"bom-ref"`
	PURL    string `json:"purl"`
}

// sbom writes the modules of the target's docker-rd, which the program itself lists. The proxy has
// a subset of them.
func (r *release) sbom(t target) error {
	info, err := buildinfo.ReadFile(filepath.Join(r.built(t), "docker-rd"+t.exe()))
	if err != nil {
		return err
	}
	b := bom{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Timestamp = r.Date.Format(time.RFC3339)
	b.Metadata.Component = newComponent("application", info.Main.Path, "v"+r.Version)
	b.Components = append(b.Components, newComponent("library", "std", strings.TrimPrefix(info.GoVersion, "go")))
	for _, dep := range info.Deps {
		b.Components = append(b.Components, moduleComponent(dep))
	}
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.name(t)+".cdx.json"), append(data, '\n'), 0o644)
}

func moduleComponent(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	return newComponent("library", m.Path, m.Version)
}

func newComponent(kind, name, version string) component {
	purl := "pkg:golang/" + name + "@" + strings.ReplaceAll(version, "+", "%2B")
	return component{Type: kind, Name: name, Version: version, Ref: purl, PURL: purl}
}
