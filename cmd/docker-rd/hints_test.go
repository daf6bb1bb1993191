//go:build unix

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/docker-rd/docker-rd/commands"
	"github.com/docker-rd/docker-rd/internal/test/shown"
)

var (
	hintsMu  sync.Mutex
	hintsRun = map[string]bool{} // entries of the table of hints, of which scripts have run the commands
	ownRun   []string            // the same of hints that errors had themselves
)

// hint looks at the error of the last docker-rd, and runs the commands of its hint, which must
// end with the statuses that are given, or 0: hint [STATUS|-|NAME=VALUE]... A command with "-"
// is not run: it would wait for somebody. NAME=VALUE replaces a placeholder in the commands.
func hint(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: hint [status|-|NAME=VALUE]...")
	}
	last, err := shown.Last(ts.Getenv(shown.Env))
	ts.Check(err)
	if len(last.Remedies) == 0 {
		ts.Fatalf("there is no hint after %q", last.Text)
	}
	if stderr := ts.ReadFile("stderr"); !strings.Contains(stderr, last.Text+"\nhint: ") {
		ts.Fatalf("stderr is not an error and a hint, each of one line: %q", stderr)
	}
	var statuses, placeholders []string
	for _, arg := range args {
		if name, value, ok := strings.Cut(arg, "="); ok {
			placeholders = append(placeholders, name, value)
		} else {
			statuses = append(statuses, arg)
		}
	}
	for _, r := range last.Remedies {
		for _, command := range shown.Commands(r.Text) {
			want := "0"
			if len(statuses) > 0 {
				want, statuses = statuses[0], statuses[1:]
			}
			runHinted(ts, strings.NewReplacer(placeholders...).Replace(command), want)
		}
		hintsMu.Lock()
		hintsRun[r.Of] = true
		if r.Of == "" || r.Of == ownHint {
			ownRun = append(ownRun, r.Text)
		}
		hintsMu.Unlock()
	}
	if len(statuses) > 0 {
		ts.Fatalf("the hint has fewer commands: %q", last.Remedies)
	}
}

func runHinted(ts *testscript.TestScript, command, want string) {
	if want == "-" {
		return
	}
	ts.Logf("hinted: %s", command)
	got := 0
	err := ts.Exec("sh", "-c", command)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("%s: exit status %d, want %s", command, got, want)
	}
}

// hintsElsewhere are the entries of the table of hints that scripts can't provoke, and why.
var hintsElsewhere = map[string]string{
	"no driver can make an engine":        "it is of systems other than Linux",
	"no place for the state":              "it takes a user whom the system does not know",
	"*client.Error Crashed":               "it takes a fault of the supervisor",
	"*client.Error NoSystemd":             "it takes a system without systemd",
	"*mounts.BusyError":                   "it takes a mount that the script could not undo",
	"*configfile.RefusedError BindMount":  "it takes a mount that the script could not undo",
	"*configfile.RefusedError ReadOnly":   "root may write all files",
	"*configfile.RefusedError Unreadable": "root may read all files",
	"*configfile.RefusedError Owner":      "it takes two users",
	"*configfile.RefusedError NoSpace":    "it takes a file system that is full",
}

// placesElsewhere are the places that make hints which root's scripts of hints don't provoke, and why.
var placesElsewhere = map[string]string{
	"Check: `sudo apt-get install openssh-client`":                                                    "ssh is there for the tests of ssh",
	"Lacks: `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`, if the processor has it":            "it is a note",
	"checkLimactl: start the instance as an ordinary user":                                            "lima-refused.txtar does",
	"checkQEMU: `sudo apt-get install %s ovmf`":                                                       "lima-refused.txtar does, where there is no qemu",
	"checkQEMU: `sudo usermod -aG kvm %s`, then log in again":                                         "root may open all devices",
	"checkTemplate: set it back; another machine takes another instance, or that this one is removed": "lima-refused.txtar does",
	"Check: log in by ssh or a console rather than by su, or have the directory made by `sudo loginctl enable-linger %d`; without systemd: `export XDG_RUNTIME_DIR=$HOME/.local/run && mkdir -p -m 0700 $XDG_RUNTIME_DIR`": "TestHintsAsUser does",
	"checkRoot: run it with sudo, or leave `--driver` out: an ordinary user gets an engine without root":                                                                                                                   "TestHintsAsUser does",
	"RemoveData: `sudo rm -rf %s`":     "it takes files of ids that the user no longer has",
	"SetLimits: stop containers first": "it takes control groups of version 1, and memory in use",
	"UserLacks: a new instance is faster on Linux 5.11 or later, and on a local disk":  "it is a note",
	"checkUserLimits: %s, then restart the user's systemd, for example by a reboot":    "it takes a systemd that gives users some controllers",
	"missingControllers: %s, then restart the user's systemd, for example by a reboot": "it takes a systemd that gives users some controllers",
	"answers: restart …  may help":                            "kinds/lost.txtar does",
	"certPath: use the context: `docker …  --context  …  ps`": "it is of Windows, where no socket relays",
	"checkLimits: leave the limit out; if memory can't be limited, the kernel parameter `cgroup_enable=memory` may help":                "it takes a kernel without a controller: engine/processes tests that",
	"chooseSubnets: choose another `bip`, or leave it out":                                                                              "it takes an engine with a network: engine/isolated tests that",
	"checkProcesses: log in again, or have the limit raised in /etc/security/limits.conf":                                               "TestHintsAsUser does",
	"clear: end it first, if its instance is gone: `kill %d`":                                                                           "engine/state-lost.txtar does",
	"explainNamespaces: `sudo sysctl -w user.max_user_namespaces=28633`":                                                                "it takes another machine: engine/isolated plays that",
	"explainNamespaces: on Debian and Ubuntu: `sudo apt-get install --reinstall uidmap`; the ranges are in /etc/subuid and /etc/subgid": "it takes another machine: engine/isolated plays that",
	"judgeIDs: /etc/nsswitch.conf names that service: who runs it can give %s others (`getsubids %[1]s` shows them)":                    "it takes another machine: engine/isolated plays that",
	"judgeIDs: `sudo %s` …  && sudo ":                                                                                                   "it takes another machine: engine/isolated plays that",
	"refuseContainerd: the engines' own programs copy images: `%s %s | %s`":                                                             "containerd/objects.txtar does",
	"refuse: adopt an engine: `--driver existing`":                                                                                      "it is of systems other than Linux",
}

// ownHint is the entry of the table for errors with a hint of their own.
const ownHint = "*commands.hintedError"

// The commands of every hint are run by a script: those of the program's table, and those that
// are made where the error is.
func TestHints(t *testing.T) {
	if !t.Run("script", func(t *testing.T) { runScripts(t, "../../testdata/script/hints", "", "") }) {
		return
	}
	t.Run("table", func(t *testing.T) {
		judgeCovered(t, commands.HintedErrors(), hintsElsewhere, func(of string) bool { return hintsRun[of] })
	})
	t.Run("places", func(t *testing.T) {
		if testing.Short() {
			t.Skip("the programs of an engine are not looked for")
		}
		places := hintPlaces(t)
		judgeCovered(t, slices.Sorted(maps.Keys(places)), placesElsewhere, func(of string) bool {
			return slices.ContainsFunc(ownRun, places[of].MatchString)
		})
	})
}

// judgeCovered fails unless the scripts have run each of known, except those elsewhere.
func judgeCovered(t *testing.T, known []string, elsewhere map[string]string, run func(string) bool) {
	for _, of := range known {
		switch why := elsewhere[of]; {
		case !run(of) && why == "":
			t.Errorf("no script runs \"hint\" after an error of %s", of)
		case run(of) && why != "":
			t.Errorf("a script provokes an error of %s, although %s", of, why)
		}
	}
	for of := range elsewhere {
		if !slices.Contains(known, of) {
			t.Errorf("there is no %s", of)
		}
	}
}

// hintPlaces returns where the program makes hints, outside of the table: what is written there,
// by the function and the words, and what matches the hints.
func hintPlaces(t *testing.T) map[string]*regexp.Regexp {
	places := map[string]*regexp.Regexp{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			within := "a variable"
			if f, ok := decl.(*ast.FuncDecl); ok {
				within = f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) < 2 {
					return true
				}
				if name := types.ExprString(call.Fun); name != "failure.WithHint" && name != "hinted" {
					return true
				}
				words := wordsOf(call.Args[1:])
				places[fmt.Sprintf("%s: %s", within, strings.Join(words, " … "))] = hintPattern(words)
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return places
}

// wordsOf returns the texts in expressions.
func wordsOf(exprs []ast.Expr) (words []string) {
	for _, e := range exprs {
		ast.Inspect(e, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if word, err := strconv.Unquote(lit.Value); err == nil && letters.MatchString(word) {
					words = append(words, word)
				}
			}
			return true
		})
	}
	return words
}

var letters = regexp.MustCompile(`[a-z]{2}|%s`)

var verbs = regexp.MustCompile(`%(?:\\\[\d+\\\])?[sdq]`)

// hintPattern matches hints that have the words one after the other.
func hintPattern(words []string) *regexp.Regexp {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = verbs.ReplaceAllString(regexp.QuoteMeta(word), ".*")
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}
