package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/windows"

	"github.com/docker-rd/docker-rd/engine"
	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
	"github.com/docker-rd/docker-rd/internal/test/wine"
	"github.com/docker-rd/docker-rd/plugin"
)

func TestMain(m *testing.M) {
	engine.RunHelper()
	testscript.Main(m, map[string]func(){
		"docker-rd": plugin.Main,
		"test":      testFile,
	})
}

// testFile is the program test, as far as scripts use it.
func testFile() {
	args, want := os.Args[1:], true
	if len(args) > 0 && args[0] == "!" {
		args, want = args[1:], false
	}
	info, err := os.Stat(args[1])
	is := err == nil && map[string]bool{"-e": true, "-d": err == nil && info.IsDir(), "-s": err == nil && info.Size() > 0}[args[0]]
	if is != want {
		os.Exit(1)
	}
}

// Scripts run docker-rd by itself, against a fake engine on a TCP port. What they do the
// Unix way is rewritten; those that run programs which Windows has not are skipped.
func TestScript(t *testing.T) {
	scripts, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		name := filepath.Base(script)
		t.Run(strings.TrimSuffix(name, ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			rewritten := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(rewritten, []byte(rewrite(t, string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			testscript.Run(t, testscript.Params{
				Files:               []string{rewritten},
				RequireExplicitExec: true,
				Setup:               setup,
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status":       status,
					"until":        until,
					"replace":      replace,
					"sub":          substitute,
					"listen":       listen,
					"signal":       kill,
					"lock":         lockFile,
					"engine-start": engineStart,
					"engine-stop":  engineStop,
				},
			})
		})
	}
}

// rewrites are Windows's ways for what scripts do the Unix way.
var rewrites = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(?m)^exec fake-engine \$E(.*) &\w+&$`), "engine-start$1"},
	{regexp.MustCompile(`(?m)^until test -S \$E$`), ""}, // engine-start has waited
	{regexp.MustCompile(`(?m)^kill -\w+ engine\w*$`), "engine-stop"},
	{regexp.MustCompile(`(?m)^wait engine\w*$`), ""},
	{regexp.MustCompile(`unix://\$E\b`), "$$ENGINE"},
	{regexp.MustCompile(`"unix://\.\*","scheme":"unix"`), `"tcp://.*","scheme":"tcp"`},
	{regexp.MustCompile(`unix://\.\*`), "tcp://.*"},
	{regexp.MustCompile(`(?m)^(stdout|stderr) '/`), `$1 '[/\\]+`},
	{regexp.MustCompile(`(?m)^(! )?exec (grep|cp|mkdir|rm) `), "${1}$2 "},
}

// program finds the programs that a script runs.
var program = regexp.MustCompile(`(?m)^(?:! )?(?:exec|status \d+|sub \w+|until(?: !)?(?: -stdout \S+)?) ([\w-]+)`)

func rewrite(t *testing.T, text string) string {
	commands, filesOf, _ := strings.Cut(text, "\n-- ")
	for _, r := range rewrites {
		commands = r.pattern.ReplaceAllString(commands, r.with)
	}
	for name, reason := range wine.Scripts {
		if regexp.MustCompile(`(?m)^(! )?` + name + ` `).MatchString(commands) {
			t.Skipf("it takes %s: %s", name, reason)
		}
	}
	for _, m := range program.FindAllStringSubmatch(commands, -1) {
		if _, err := exec.LookPath(m[1]); err != nil {
			t.Skipf("it runs %s: %v", m[1], err)
		}
	}
	if filesOf == "" {
		return commands
	}
	return commands + "\n-- " + filesOf
}

// kill ends a process whose number is in a file or an argument: signal KILL PID|FILE.
func kill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || args[0] != "KILL" {
		ts.Fatalf("usage: signal KILL pid|file")
	}
	number := args[1]
	if _, err := strconv.Atoi(number); err != nil {
		number = strings.TrimSpace(ts.ReadFile(number))
	}
	pid, err := strconv.Atoi(number)
	ts.Check(err)
	process, err := os.FindProcess(pid)
	ts.Check(err)
	ts.Check(process.Kill())
}

// lockFile takes a file's lock as a program does that knows nothing of docker-rd, and
// releases it with "!": [!] lock FILE.
func lockFile(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] lock file")
	}
	path := ts.MkAbs(args[0])
	if neg {
		ts.Check(lockedFiles[path].Close())
		delete(lockedFiles, path)
		return
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	ts.Check(err)
	ts.Check(windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{}))
	lockedFiles[path] = file
}

// lockedFiles are locked by the script, of which only one runs at a time.
var lockedFiles = map[string]*os.File{}

type enginesKey struct{}

// The engine of a script is always at one address.
type scriptEngine struct {
	address string
	running *fakeengine.Engine
}

func setup(e *testscript.Env) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	own := &scriptEngine{address: l.Addr().String()}
	if err := l.Close(); err != nil {
		return err
	}
	e.Values[enginesKey{}] = own
	home, config := filepath.Join(e.WorkDir, ".rd"), filepath.Join(e.WorkDir, "docker")
	for _, dir := range []string{filepath.Join(config, "cli-plugins"), filepath.Join(e.WorkDir, "home"), home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("USERPROFILE", filepath.Join(e.WorkDir, "home"))
	e.Setenv("DOCKER_CONFIG", config)
	e.Setenv("DOCKER_RD_HOME", home)
	e.Setenv("ENGINE", "tcp://"+own.address)
	e.Setenv("E", own.address)
	e.Setenv("S", filepath.Join(home, "state", "instances", "default", "state.json"))
	e.Setenv("TZ", "UTC")
	t, env := e.T(), append(os.Environ(), "DOCKER_RD_HOME="+home, "DOCKER_CONFIG="+config)
	e.Defer(func() {
		cmd := exec.Command("docker-rd", "stop", "--all", "--force", "--timeout", "10s")
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Log(string(out))
		}
		if own.running != nil {
			_ = own.running.Close()
		}
	})
	return nil
}

// engineStart starts the script's engine, with the objects of a file: engine-start [FILE].
func engineStart(ts *testscript.TestScript, neg bool, args []string) {
	own := ts.Value(enginesKey{}).(*scriptEngine)
	if neg || len(args) > 1 || own.running != nil {
		ts.Fatalf("usage: engine-start [file], once")
	}
	l, err := net.Listen("tcp", own.address)
	ts.Check(err)
	own.running = fakeengine.Serve(l)
	if len(args) > 0 {
		ts.Check(addObjects(own.running, ts.MkAbs(args[0])))
	}
}

// engineStop stops it.
func engineStop(ts *testscript.TestScript, neg bool, args []string) {
	own := ts.Value(enginesKey{}).(*scriptEngine)
	if neg || len(args) > 0 || own.running == nil {
		ts.Fatalf("usage: engine-stop, of a running one")
	}
	err := own.running.Close()
	own.running = nil
	if err != nil && !errors.Is(err, net.ErrClosed) {
		ts.Check(fmt.Errorf("stop the engine: %w", err))
	}
}
