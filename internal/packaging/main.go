// Command packaging makes a release of docker rd: archives, packages, a Homebrew formula, winget
// manifests, SBOMs and checksums. The same source gives the same bytes. `make release` runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A release is one call of the command.
type release struct {
	Version string    // "1.2.3", or git describe's for a commit without a tag
	Commit  string    // the whole hash
	Date    time.Time // of the commit: the time of every file
	out     string    // output directory
	goTool  string    // the go command
	tags    string    // build tags
	targets []target
}

// A target is a system to build for.
type target struct{ OS, Arch string }

func (t target) String() string { return t.OS + "/" + t.Arch }

// exe is the suffix of programs.
func (t target) exe() string {
	if t.OS == "windows" {
		return ".exe"
	}
	return ""
}

// name begins the names of the target's files.
func (r *release) name(t target) string {
	return fmt.Sprintf("docker-rd_%s_%s_%s", r.Version, t.OS, t.Arch)
}

// built returns the directory of the target's programs.
func (r *release) built(t target) string { return filepath.Join(r.out, "build", t.OS+"_"+t.Arch) }

func main() {
	r, err := parse(os.Args[1:])
	if err == nil {
		err = r.make()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*release, error) {
	flags := flag.NewFlagSet("packaging", flag.ExitOnError)
	r := &release{}
	flags.StringVar(&r.Version, "version", "", "the version, with or without v")
	flags.StringVar(&r.Commit, "commit", "", "the commit's hash")
	date := flags.String("date", "", "the commit's date in RFC 3339")
	flags.StringVar(&r.out, "out", "dist", "where to put everything; removed before")
	flags.StringVar(&r.goTool, "go", "go", "the go command")
	flags.StringVar(&r.tags, "tags", "", "build tags")
	targets := flags.String("targets", "", "OS/ARCH, separated by blanks")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if r.Date, err = time.Parse(time.RFC3339, *date); err != nil {
		return nil, fmt.Errorf("-date: %w", err)
	}
	r.Date = r.Date.UTC()
	for _, pair := range strings.Fields(*targets) {
		system, arch, _ := strings.Cut(pair, "/")
		r.targets = append(r.targets, target{system, arch})
	}
	r.Version = strings.TrimPrefix(r.Version, "v")
	if r.Version == "" || r.Commit == "" || len(r.targets) == 0 {
		return nil, errors.New("-version, -commit and -targets are needed")
	}
	r.out, err = filepath.Abs(r.out)
	return r, err
}

// make makes the whole release. It runs in the project's directory.
func (r *release) make() error {
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := r.completions(); err != nil {
		return err
	}
	for _, t := range r.targets {
		fmt.Println("build", t)
		if err := r.build(t); err != nil {
			return err
		}
		if err := errors.Join(r.archive(t), r.sbom(t)); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if t.OS == "linux" {
			if err := r.packages(t); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
		}
	}
	sums, err := r.sums()
	if err != nil {
		return err
	}
	if err := r.manifests(sums); err != nil {
		return err
	}
	return r.checksums()
}

// extras are the files beside the programs, by their names in archives.
func (r *release) extras() (map[string]string, error) {
	files := map[string]string{}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		files[name] = name
	}
	for _, pattern := range []string{filepath.Join(r.completionDir(), "*"), "docs/man/*.1"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			files[filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path)] = path
		}
	}
	return files, nil
}
