package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/docker-rd/docker-rd/internal/test/fakeengine"
)

func addObjects(e *fakeengine.Engine, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var o fakeengine.Objects
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	e.Add(o)
	return nil
}

// status runs a command and wants it to exit with a status: status N COMMAND [ARG...].
func status(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || len(args) < 2 || err != nil {
		ts.Fatalf("usage: status n command [args...]")
	}
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// until runs a command again and again until it succeeds (or fails, with "!"; or
// prints what matches, with -stdout), for what takes effect a moment later:
// until [!] [-stdout PATTERN] COMMAND [ARG...].
func until(ts *testscript.TestScript, neg bool, args []string) {
	want, pattern := true, regexp.MustCompile("")
	if len(args) > 0 && args[0] == "!" {
		want, args = false, args[1:]
	}
	if len(args) > 1 && args[0] == "-stdout" {
		pattern, args = regexp.MustCompile("(?m)"+args[1]), args[2:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: until [!] [-stdout pattern] command [args...]")
	}
	deadline := time.Now().Add(2 * time.Minute)
	// What waits for long must not take the processors from other scripts.
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, 300*time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil && pattern.MatchString(ts.ReadFile("stdout"))) == want {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: still not: %v", strings.Join(args, " "), err)
		}
		time.Sleep(pause)
	}
}

// listen takes a free port at an address until the script ends and sets a variable to
// both: listen NAME ADDRESS.
func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listen name address")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(args[1], "0"))
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// replace replaces all of a text in a file: replace FILE OLD NEW.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace file old new")
	}
	path := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(ts.ReadFile(path), args[1], args[2])), 0o600))
}

// substitute sets a variable to the first line of a command's output: sub NAME COMMAND
// [ARG...].
func substitute(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sub name command [args...]")
	}
	ts.Check(ts.Exec(args[1], args[2:]...))
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	ts.Setenv(args[0], line)
}
