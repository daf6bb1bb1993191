// Package rules holds the project to its structure.
package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	pathpkg "path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/docker-rd/docker-rd"

// rooms are the folders with code, each with those below it that are no rooms of their
// own, and which folders each may import. They go downward only, so that whatever is
// below can be understood without what is above.
var rooms = map[string][]string{
	"cmd":                      {"plugin", "internal", "engine"},                                                // engine: the script tests' entry is the driver's helper too
	"plugin":                   {"plugin/metadata", "commands", "supervisor", "engine", "instance", "internal"}, // supervisor: the program is it, too
	"plugin/metadata":          {"internal/version/release"},                                                    // it answers before anything else is initialized
	"commands":                 {"commands/objects", "commands/output", "dashboard", "top", "board", "client", "engine", "instance", "instance/contexts", "dockercontext", "mirror", "requests", "lock", "internal"},
	"commands/objects":         {"commands/output", "mirror/state", "internal"}, // from the file alone
	"commands/output":          {"internal"},
	"dashboard":                {"board", "mirror/state", "internal"},
	"top":                      {"board", "commands/objects", "mirror/state", "requests", "internal"}, // commands/objects: it says what docker would
	"board":                    {"client", "instance", "mirror/state", "requests", "internal"},
	"client":                   {"supervisor/wire", "engine", "instance", "instance/contexts", "dockercontext", "mirror", "requests", "lock", "internal"}, // of the daemon it knows only what both agreed on
	"supervisor":               {"supervisor/wire", "engine", "instance", "instance/contexts", "dockercontext", "mirror", "requests", "lock", "internal"},
	"supervisor/wire":          {"internal"}, // on both sides of a process, so it does nothing itself
	"engine":                   {"engine/isolated", "engine/lima", "engine/namespaces", "engine/processes", "instance", "internal"},
	"engine/isolated":          {"engine/namespaces", "engine/processes", "instance", "internal"},
	"engine/lima":              {"engine/processes", "instance", "lock", "internal"},
	"engine/namespaces":        {"engine/processes", "lock", "internal"},
	"engine/processes":         {"internal"},
	"instance/contexts":        {"engine", "instance", "dockercontext", "mirror/state", "internal"},                     // it joins what does not know each other
	"instance":                 {"dockercontext", "mirror", "lock", "internal"},                                         // dockercontext: a policy is a setting; mirror: its state is one of its files, and it knows how its engine is connected to
	"dockercontext":            {"dockercontext/claim", "dockercontext/configfile", "mirror/state", "lock", "internal"}, // mirror/state: conditions and their reasons
	"dockercontext/claim":      {"lock", "internal"},
	"dockercontext/configfile": {"lock", "internal"},
	"mirror":                   {"mirror/state", "lock", "internal"},
	"requests":                 {"mirror", "internal"},
	"mirror/state":             {"internal"}, // for everybody's use, so it must stay small
	"lock":                     {"internal"},
	"internal":                 {},
}

// testTools are programs and helpers for tests: nothing that is shipped imports them, so
// they may import what they measure or pretend to be.
const testTools = "internal/test"

// forbidden are imports that only some rooms may have, with the reason.
var forbidden = []struct {
	path   string // with what is below it if it ends with "/..."
	except []string
	reason string
}{
	{"github.com/docker/cli/cli/command/...", []string{"plugin", "commands"}, "it pulls in the whole telemetry chain, 9 MB and milliseconds at each start"},
	{"github.com/docker/cli/cli-plugins/plugin", []string{"plugin"}, "what makes a plugin is in one place"},
	{"github.com/spf13/cobra", []string{"plugin", "commands"}, "command lines are parsed in one place"},
	{"github.com/docker/cli/cli/connhelper/commandconn", nil, "it ignores deadlines and leaves processes behind"},
	{"github.com/fsnotify/fsnotify", []string{"internal"}, "directories are watched through internal/dirwatch"},
	{"github.com/moby/sys/atomicwriter", nil, "files are replaced through internal/files, on Windows too"},
	{"github.com/gofrs/flock", nil, "it opens lock files so that they can't be removed on Windows: see package lock"},
	{"log", nil, "logs are structured: log/slog"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		room := roomOf(path)
		if room == "" {
			t.Errorf("%s is in no room: a new top-level folder needs a place in the rules", path)
			continue
		}
		if isIn(path, []string{testTools}) {
			continue
		}
		for _, imp := range p.Imports {
			if rest, ours := strings.CutPrefix(imp, module+"/"); ours {
				if roomOf(rest) != room && !isIn(rest, rooms[room]) {
					t.Errorf("%s imports %s: imports run downward only, %s may import %v", path, rest, room, rooms[room])
				}
				if isIn(rest, []string{testTools}) {
					t.Errorf("%s imports %s, which is for tests", path, rest)
				}
			}
			for _, f := range forbidden {
				if matches(imp, f.path) && !isIn(path, f.except) {
					t.Errorf("%s imports %s: %s", path, imp, f.reason)
				}
			}
		}
	}
}

func matches(imp, pattern string) bool {
	root, below := strings.CutSuffix(pattern, "/...")
	return imp == root || below && strings.HasPrefix(imp, root+"/")
}

// roomOf returns the room that a package is in, "" if there is none.
func roomOf(path string) string {
	for ; path != "."; path = pathpkg.Dir(path) {
		if _, ok := rooms[path]; ok {
			return path
		}
	}
	return ""
}

// isIn reports whether a package is in one of the folders, or below it.
func isIn(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

func packages(t *testing.T) []pkg {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages were found", len(pkgs))
	}
	return pkgs
}
