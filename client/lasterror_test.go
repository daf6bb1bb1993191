package client

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a supervisor logs as it gives up is what a start says.
func TestLastError(t *testing.T) {
	logged := func(err error) string {
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).With("instance", "a b").Error("supervisor ends", "error", err)
		return b.String()
	}
	whole := logged(errors.New(`open "/a b": no such file`))
	for name, tc := range map[string]struct{ log, want string }{
		"an error":            {whole, `open "/a b": no such file`},
		"one word":            {logged(errors.New("EOF")), "EOF"},
		"the last of two":     {whole + logged(errors.New("no space left")), "no space left"},
		"before the logger":   {whole + "\nload it: permission denied\n\n", "load it: permission denied"},
		"cut by a full disk":  {whole + whole[:len(whole)-5], ""},
		"nothing":             {"", ""},
		"behind a long one":   {strings.Repeat("x", 20<<10) + "\n" + whole, `open "/a b": no such file`},
		"not about a failure": {"time=2026-01-02T03:04:05Z level=INFO msg=condition\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "supervisor.log")
		if err := os.WriteFile(path, []byte(tc.log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastError(path); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := lastError(filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("without a log: %q", got)
	}
}
