package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/docker-rd/docker-rd/internal/test/console"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// The sessions of README and of the pages in docs work word by word: for an ordinary user, on
// a terminal, on a host whose own engine is healthy.
func TestDocs(t *testing.T) {
	realengine.Need(t)
	pages := readPages(t, os.Getenv("DOCS"))
	if !onOwnHost(t) {
		return
	}
	host, err := fakeengine.Start("/run/docker.sock")
	if err == nil {
		err = os.Chmod("/run/docker.sock", 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	ann := newPerson(t, "ann")
	program := ann.out("sh", "-c", "command -v docker-rd")
	rootFS := filepath.Join(filepath.Dir(program), "rootfs.tar")
	env := []string{"ROOTFS=" + rootFS, "IMAGE=" + imageArchive(t, rootFS), "GORACE=atexit_sleep_ms=0"}
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), "timeout"), []byte(timeout), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("pages", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(pages)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newSession(t, ann, name, program, env)
				for _, step := range pages[name] {
					s.take(step)
				}
			})
		}
	})
	for deadline := time.Now().Add(time.Minute); exec.Command("pgrep", "-u", ann.login).Run() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a terminal does not end")
		}
	}
}

// timeout is for what goes on and on, which pages show for some seconds: it ends that after the first
// output, however long that takes.
const timeout = `#!/bin/sh
shift
out=$(mktemp)
setsid "$@" >"$out" &
until [ -s "$out" ]; do sleep 0.05; done
kill -- -$!
cat "$out"
rm "$out"
`

// readPages returns the steps of the pages that have some, or of one page alone.
func readPages(t *testing.T, only string) map[string][]console.Step {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string][]console.Step{}
	for _, path := range append(paths, "../../README.md") {
		name := filepath.Base(path)
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := console.Parse(string(page))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(steps) > 0 && (only == "" || only == name) {
			pages[name] = steps
		}
	}
	return pages
}

// A pageSession is ann on a terminal, who follows a page.
type pageSession struct {
	t    *testing.T
	ann  *person
	home string
	term *console.Terminal
}

func newSession(t *testing.T, ann *person, name, program string, env []string) *pageSession {
	s := &pageSession{t: t, ann: ann, home: filepath.Join(ann.out("sh", "-c", "echo $HOME"), strings.TrimSuffix(name, ".md"))}
	ann.out("sh", "-c", `mkdir -p "$0/.docker/cli-plugins" && ln -s "$1" "$0/.docker/cli-plugins/docker-rd"`, s.home, program)
	runtime := filepath.Join("/run/user", ann.login, filepath.Base(s.home))
	if out, err := exec.Command("install", "-d", "-o", ann.login, "-m", "700", filepath.Dir(runtime), runtime).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Pages publish the same ports.
	command := func(argv ...string) *exec.Cmd {
		cmd := ann.command(argv...)
		cmd.SysProcAttr.Unshareflags |= syscall.CLONE_NEWNET
		return cmd
	}
	var err error
	if s.term, err = console.Open(s.home, runtime, command, env...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _, err := s.term.Do("docker-rd rm --all --force --quiet >/dev/null 2>&1")
		if err := errors.Join(err, s.term.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// imageArchive returns the path of an image "docker.io/library/app:1", as docker save writes it.
func imageArchive(t *testing.T, rootFS string) string {
	data, err := os.ReadFile(rootFS)
	if err == nil {
		data, err = realengine.ImageArchive(data, "docker.io/library/app:1", "by-a-test")
	}
	path := filepath.Join(filepath.Dir(rootFS), "app.tar")
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// take does what a page has at this place.
func (s *pageSession) take(step console.Step) {
	s.t.Helper()
	switch {
	case strings.HasSuffix(step.File, ".go"):
		s.build(step)
	case strings.HasSuffix(step.File, ".yml"):
		s.runJob(step)
	case step.File != "":
		s.must(step, s.term.Write(step.File, step.Text))
	case step.Script != "":
		s.must(step, s.term.Run(step.Script))
	default:
		out, _, err := s.term.Do(step.Command)
		s.must(step, err)
		if err := console.Match(step.Output, out); err != nil {
			s.t.Errorf("line %d: %s: %v", step.Line, step.Command, err)
		}
	}
}

func (s *pageSession) must(step console.Step, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("line %d: %v", step.Line, err)
	}
}

// runJob runs the commands of a job of GitHub's or GitLab's as these do: one shell for each step.
// Steps that install something are left out.
func (s *pageSession) runJob(step console.Step) {
	s.t.Helper()
	var job struct {
		Jobs struct {
			Test struct{ Steps []struct{ Name, Run string } }
		}
		Test struct {
			Variables   map[string]string
			Before      []string `yaml:"before_script"`
			Script      []string
			AfterScript []string `yaml:"after_script"`
		}
	}
	s.must(step, yaml.Unmarshal([]byte(step.Text), &job))
	var shells []string
	for _, part := range job.Jobs.Test.Steps {
		if part.Run != "" && !strings.HasPrefix(part.Name, "Install") {
			shells = append(shells, `export GITHUB_ENV="$HOME/github.env"; touch "$GITHUB_ENV"; set -a; . "$GITHUB_ENV"; set +a`+"\n"+part.Run)
		}
	}
	variables := "CI_JOB_ID=42\n"
	for name, value := range job.Test.Variables {
		variables += fmt.Sprintf("export %s=%q\n", name, value)
	}
	for _, part := range [][]string{slices.Concat(job.Test.Before, job.Test.Script), job.Test.AfterScript} {
		if len(part) > 0 {
			shells = append(shells, variables+strings.Join(part, "\n"))
		}
	}
	if len(shells) < 2 {
		s.t.Fatalf("line %d: there is nothing to run", step.Line)
	}
	for _, commands := range shells {
		s.must(step, s.term.Run(commands))
	}
}

// build builds a program, which can be run by its name.
func (s *pageSession) build(step console.Step) {
	s.t.Helper()
	// Below this directory, so that it is of this module.
	dir, err := os.MkdirTemp(".", "docs")
	if err != nil {
		s.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	source, name := filepath.Join(dir, step.File), strings.TrimSuffix(step.File, ".go")
	program := filepath.Join(os.Getenv(realengine.BuiltEnv), name)
	if err := os.WriteFile(source, []byte(step.Text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
		s.t.Fatalf("line %d: %v\n%s", step.Line, err, out)
	}
	s.ann.out("ln", "-s", program, filepath.Join(s.home, name))
}
