package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/console"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/realengine"
)

// The sessions of README and of the pages in docs work word by word: for an ordinary user, on
// a terminal, on a host whose own engine is healthy.
func TestDocs(t *testing.T) {
	realengine.Need(t)
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
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for n, path := range append([]string{"../../README.md"}, pages...) {
		name := filepath.Base(path)
		if only := os.Getenv("DOCS"); only != "" && only != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			steps, err := console.Parse(string(page))
			if err != nil {
				t.Fatal(err)
			}
			if len(steps) == 0 {
				return
			}
			s := newSession(t, ann, fmt.Sprint(n))
			for _, step := range steps {
				s.take(step)
			}
		})
	}
}

// A pageSession is a shell on a terminal, in which a page's commands run.
type pageSession struct {
	t      *testing.T
	ann    *person
	home   string // hers
	login  string
	uid    string
	tmux   string // the terminal's socket
	fifo   *os.File
	number int
}

// driver runs the steps that it is told through a pipe, and says how each ended.
const driver = `exec 3<"$HOME/.steps"
while read -r step <&3; do
	printf '\033[H\033[2J\033[3J'
	. "$HOME/.$step"
	printf '\n<%s ended with %d>\n' "$step" $?
done`

func newSession(t *testing.T, ann *person, name string) *pageSession {
	s := &pageSession{t: t, ann: ann, home: filepath.Join(ann.out("sh", "-c", "echo $HOME"), name)}
	s.tmux = filepath.Join(s.home, ".tmux")
	s.login, s.uid = ann.out("id", "-un"), ann.out("id", "-u")
	runtime := "/run/user/" + s.uid
	if err := os.MkdirAll("/run/user", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(runtime); err != nil {
		if out, err := exec.Command("install", "-d", "-o", s.uid, "-m", "700", runtime).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	program := ann.out("sh", "-c", "command -v docker-rd")
	ann.out("sh", "-c", `mkdir -p "$0/.docker/cli-plugins" && ln -s "$1" "$0/.docker/cli-plugins/docker-rd" && mkfifo "$0/.steps"`, s.home, program)
	s.write(".driver", driver)
	var err error
	if s.fifo, err = os.OpenFile(filepath.Join(s.home, ".steps"), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	ann.out("env", "HOME="+s.home, "XDG_RUNTIME_DIR="+runtime, "LANG=C.UTF-8", "SHELL=/bin/bash", "ROOTFS="+filepath.Join(filepath.Dir(program), "rootfs.tar"),
		"REPO="+ann.out("sh", "-c", "cd ../.. && pwd"), "GOFLAGS=-mod=mod", "GORACE=atexit_sleep_ms=0",
		"sh", "-c", `cd && exec tmux -u -S "$0" -f /dev/null new-session -d -x 150 -y 400 bash .driver`, s.tmux)
	t.Cleanup(func() {
		s.do("docker-rd rm --all --force --quiet >/dev/null 2>&1")
		_ = s.fifo.Close() // which ends the shell, and so the terminal
		for deadline := time.Now().Add(10 * time.Second); exec.Command("pgrep", "-u", s.uid).Run() == nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("the terminal does not end")
				return
			}
		}
	})
	return s
}

// take does what a page has at this place.
func (s *pageSession) take(step console.Step) {
	s.t.Helper()
	switch {
	case strings.HasSuffix(step.File, ".go"):
		s.build(step)
	case step.File != "":
		s.write(step.File, step.Text)
	case step.Script != "":
		if out, code := s.do("(set -e\n" + step.Script + ")"); code != 0 {
			s.t.Fatalf("line %d: the test's part ended with %d:\n%s", step.Line, code, strings.Join(out, "\n"))
		}
	default:
		out, _ := s.do(step.Command)
		if err := console.Match(step.Output, out); err != nil {
			s.t.Errorf("line %d: %s: %v", step.Line, step.Command, err)
		}
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

func (s *pageSession) write(name, text string) {
	s.t.Helper()
	cmd := s.ann.command("sh", "-c", `cat >"$0"`, filepath.Join(s.home, name))
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("write %s: %v\n%s", name, err, out)
	}
}

// do runs commands, and returns what is on the terminal then, and the exit status.
func (s *pageSession) do(commands string) (lines []string, code int) {
	s.t.Helper()
	s.number++
	step := fmt.Sprintf("step%d", s.number)
	s.write("."+step, commands+"\n")
	if _, err := fmt.Fprintln(s.fifo, step); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		// Long lines as one.
		screen, err := exec.Command("tmux", "-S", s.tmux, "capture-pane", "-p", "-J").Output()
		if err != nil {
			continue
		}
		before, ended, ok := bytes.Cut(screen, []byte("\n<"+step+" ended with "))
		if !ok {
			continue
		}
		if _, err := fmt.Sscanf(string(ended), "%d>", &code); err != nil {
			continue
		}
		return s.asShown(string(before)), code
	}
	screen, _ := exec.Command("tmux", "-S", s.tmux, "capture-pane", "-p").Output()
	s.t.Fatalf("%s does not end:\n%s", commands, bytes.TrimSpace(screen))
	return nil, 0
}

// asShown returns what was printed as the pages have it, which are about another user.
func (s *pageSession) asShown(text string) []string {
	text = strings.NewReplacer(s.home, "/home/ann", "/run/user/"+s.uid, "/run/user/1000", s.login, "ann").Replace(text)
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !ofMachine.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// ofMachine are lines that only some machines show.
var ofMachine = regexp.MustCompile(`^note: containers have no limits of |^hint: root's engines have limits`)
