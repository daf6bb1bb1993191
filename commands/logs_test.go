package commands

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/logfile"
)

func TestShowLog(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 99)+"\n", 2000)
	for name, tc := range map[string]struct {
		log   string
		lines int
		want  string
	}{
		"all":                    {"a\nb\n", -1, "a\nb\n"},
		"none":                   {"a\nb\n", 0, ""},
		"the last":               {"a\nb\n", 1, "b\n"},
		"more than there are":    {"a\nb\n", 9, "a\nb\n"},
		"an end without newline": {"a\nb\nc", 2, "b\nc"},
		"empty lines":            {"a\n\n\n", 2, "\n\n"},
		"an empty log":           {"", 1, ""},
		"a long one":             {"a\n" + long, 2000, long},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, []byte(tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := showLog(t.Context(), &b, path, tc.lines, false); err != nil || b.String() != tc.want {
			t.Errorf("%s: %q, %v, want %q", name, b.String(), err, tc.want)
		}
	}
}

// A log is followed beyond its end, and from its beginning where it is put aside.
func TestFollowLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	add := func(line string) {
		t.Helper()
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(line + "\n"); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	add("before")
	r, w := io.Pipe()
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- showLog(ctx, w, path, 1, true) }()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 2*logfile.Max)
	shows := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q is shown, want %q", lines.Text(), want)
		}
	}
	shows("before")
	add("more")
	shows("more")
	// Put aside while it is being written to.
	add(strings.Repeat("x", logfile.Max))
	shows(strings.Repeat("x", logfile.Max))
	if err := logfile.Rotate(path); err != nil {
		t.Fatal(err)
	}
	add("after")
	shows("after")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("showLog = %v, want Canceled", err)
	}
}
