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
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/docker-rd/docker-rd/internal/test/shown"
)

var (
	hintsMu  sync.Mutex
	hintsRun []string // hints of which scripts have run the commands
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
	if len(last.Hints) == 0 {
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
	for _, hint := range last.Hints {
		for _, command := range shown.Commands(hint) {
			want := "0"
			if len(statuses) > 0 {
				want, statuses = statuses[0], statuses[1:]
			}
			runHinted(ts, strings.NewReplacer(placeholders...).Replace(command), want)
		}
		hintsMu.Lock()
		hintsRun = append(hintsRun, hint)
		hintsMu.Unlock()
	}
	if len(statuses) > 0 {
		ts.Fatalf("the hint has fewer commands: %q", last.Hints)
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

// placesElsewhere are the places that make hints which root's scripts of hints don't provoke, and why.
var placesElsewhere = map[string]string{
	"Check: `sudo apt-get install openssh-client`":                                                    "ssh is there for the tests of ssh",
	"Lacks: `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd`, if the processor has it":            "it is a note",
	"checkLimactl: start the instance as an ordinary user":                                            "lima-refused.txtar does",
	"checkQEMU: `sudo apt-get install %s ovmf`":                                                       "lima-refused.txtar does, where there is no qemu",
	"checkQEMU: `sudo usermod -aG kvm %s`, then log in again":                                         "root may open all devices",
	"checkTemplate: set it back; another machine takes another instance, or that this one is removed": "lima-refused.txtar does",
	"Check: log in by ssh or a console rather than by su, or have the directory made by `sudo loginctl enable-linger %d`; without systemd: `export XDG_RUNTIME_DIR=$HOME/.local/run && mkdir -p -m 0700 $XDG_RUNTIME_DIR`": "TestHintsAsUser does",
	"CheckRuntime: set XDG_RUNTIME_DIR or %s to a directory of your own, and make the instance there":                                                                                                                      "TestHintsAsUser does",
	"checkRoot: run it with sudo, or leave `--driver` out: an ordinary user gets an engine without root":                                                                                                                   "TestHintsAsUser does",
	"RemoveData: `sudo rm -rf %s`":                                                                                       "it takes files of ids that the user no longer has",
	"SetLimits: stop containers first":                                                                                   "it takes control groups of version 1, and memory in use",
	"Lacks: a new instance is faster on Linux 5.11 or later, and on a local disk":                                        "it is a note",
	"checkUserLimits: %s, then restart the user's systemd, for example by a reboot":                                      "it takes a systemd that gives users some controllers",
	"missingControllers: %s, then restart the user's systemd, for example by a reboot":                                   "it takes a systemd that gives users some controllers",
	"answers: %s may help … restart":                                                                                     "kinds/lost.txtar does",
	"certPath: use the context: `docker%s --context %s ps`":                                                              "it is of Windows, where no socket relays",
	"engineFailed: the engine's log is  … logs":                                                                          "kinds/crash-loop.txtar does",
	"hints: it does not belong to the instance: `sudo umount ":                                                           "it takes a mount that the script could not undo",
	"hints: mount its directory in place of the file, or change the context where the file comes from":                   "it takes a mount that the script could not undo",
	"hints: make the file and its directory writable":                                                                    "root may write all files",
	"hints: make the file readable":                                                                                      "root may read all files",
	"hints: run the command as the owner of the file":                                                                    "it takes two users",
	"hints: make room on the file system":                                                                                "it takes a file system that is full",
	"problem: another process manager can run  … start --foreground":                                                     "it takes a system without systemd",
	"wellKnown: adopt an engine: `docker-rd start --from-context NAME` or `docker-rd start --host URL`":                  "it is of systems other than Linux",
	"noHome: set HOME or %s":                                                                                             "it takes a user whom the system does not know",
	"checkLimits: leave the limit out; if memory can't be limited, the kernel parameter `cgroup_enable=memory` may help": "it takes a kernel without a controller: engine/processes tests that",
	"chooseSubnets: choose another `bip`, or leave it out":                                                               "it takes an engine with a network: engine/isolated tests that",
	"checkProcesses: log in again, or have the limit raised in /etc/security/limits.conf":                                "TestHintsAsUser does",
	"clear: end it first, if its instance is gone: `kill %d`":                                                            "engine/state-lost.txtar does",
	"explainNamespaces: `sudo sysctl -w user.max_user_namespaces=28633`":                                                 "it takes another machine: engine/isolated plays that",
	"checkNamespaces: before chroot: `sudo mount --bind DIRECTORY DIRECTORY`":                                            "it takes another root directory: engine/isolated tests that",
	"limitedNamespaces: `sudo sysctl -w user.%s=28633`":                                                                  "it takes another machine: engine/isolated plays that",
	"explainNamespaces: this process may get no privileges by programs: run it outside of the service that has `NoNewPrivileges=yes`, or the container that has `--security-opt no-new-privileges`": "it takes another machine: engine/isolated plays that",
	"checkIDs: set USER to the name that `id -un` prints; if it prints none, run it as a user who has one":                                                                                          "it takes another machine: engine/isolated plays that",
	"explainNamespaces: on Debian and Ubuntu: `sudo apt-get install --reinstall uidmap`; the ranges are in /etc/subuid and /etc/subgid":                                                             "it takes another machine: engine/isolated plays that",
	"judgeIDs: /etc/nsswitch.conf names that service: who runs it can give %s others (`getsubids %[1]s` shows them)":                                                                                "it takes another machine: engine/isolated plays that",
	"judgeIDs: `sudo %s` …  && sudo ":                                       "it takes another machine: engine/isolated plays that",
	"refuseContainerd: the engines' own programs copy images: `%s %s | %s`": "containerd/objects.txtar does",
	"refuse: adopt an engine: `--driver existing`":                          "it is of systems other than Linux",
}

// The commands of every hint are run by a script: those of the program's table, and those that
// are made where the error is.
func TestHints(t *testing.T) {
	if !t.Run("script", func(t *testing.T) { runScripts(t, "../../testdata/script/hints", "", "") }) {
		return
	}
	t.Run("places", func(t *testing.T) { // not as an ordinary user
		if testing.Short() {
			t.Skip("the programs of an engine are not looked for")
		}
		places := hintPlaces(t)
		for place, matches := range places {
			run := slices.ContainsFunc(hintsRun, matches)
			switch why := placesElsewhere[place]; {
			case !run && why == "":
				t.Errorf("no script runs \"hint\" after the error of %s", place)
			case run && why != "":
				t.Errorf("a script provokes the error of %s, although %s", place, why)
			}
		}
		for place := range placesElsewhere {
			if places[place] == nil {
				t.Errorf("there is no %s", place)
			}
		}
	})
}

// hintPlaces returns where the program makes hints: what is written there, by the function and the
// words, and what matches the hints.
func hintPlaces(t *testing.T) map[string]func(string) bool {
	places := map[string]func(string) bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			within := "hints"
			if f, ok := decl.(*ast.FuncDecl); ok {
				within = f.Name.Name
			}
			table := filepath.Base(path) == "hints.go" && slices.Contains(hintTable, within)
			ast.Inspect(decl, func(n ast.Node) bool {
				if words := wordsOf(hintIn(n, table)); len(words) > 0 {
					places[fmt.Sprintf("%s: %s", within, strings.Join(words, " … "))] = hintMatcher(words)
				}
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

// hintTable is what makes the hints of the table.
var hintTable = []string{"hints", "wellKnown", "problem", "notExist", "damaged", "startedBy", "engineFailed"}

// hintIn returns the expressions for a hint in a node: with an error, or what the table returns.
func hintIn(n ast.Node, table bool) []ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		if types.ExprString(n.Fun) == "failure.WithHint" {
			return n.Args[1:]
		}
	case *ast.ReturnStmt:
		if table {
			return n.Results
		}
	case *ast.KeyValueExpr:
		if table {
			return []ast.Expr{n.Value}
		}
	}
	return nil
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

// hintMatcher returns what reports whether a hint has all the words.
func hintMatcher(words []string) func(string) bool {
	return func(hint string) bool {
		for _, word := range words {
			if !regexp.MustCompile(verbs.ReplaceAllString(regexp.QuoteMeta(word), ".*")).MatchString(hint) {
				return false
			}
		}
		return true
	}
}
