package logfile

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		offset, most int64
		text         string
		cut          bool
	}{
		{0, 100, "one\ntwo\nthree\n", false},
		{4, 100, "two\nthree\n", false},
		{14, 100, "", false},
		{100, 100, "one\ntwo\nthree\n", false}, // it was rotated
		{0, 8, "o\nthree\n", true},
		{0, 14, "one\ntwo\nthree\n", false},
	} {
		if text, cut := Since(path, test.offset, test.most); text != test.text || cut != test.cut {
			t.Errorf("since %d, at most %d: %q, %v", test.offset, test.most, text, cut)
		}
	}
	if text, cut := Since(path+"-none", 0, 100); text != "" || cut {
		t.Errorf("of no log: %q, %v", text, cut)
	}
}

func TestParse(t *testing.T) {
	for line, want := range map[string][2]string{
		`time="2026-01-02T03:04:05Z" level=warning msg="a \"quoted\" word" error=x`: {"warning", `a "quoted" word`},
		`time="2026-01-02T03:04:05Z" level=info msg=short`:                          {"info", "short"},
		`msg="[hostagent] two\nlines"`:                                              {"", `[hostagent] two\nlines`},
		"  plainly said\n":                                                          {"", "plainly said"},
		"":                                                                          {"", ""},
	} {
		if level, message := Parse(line); level != want[0] || message != want[1] {
			t.Errorf("%q is %q, %q", line, level, message)
		}
	}
}

// A line that never ends, as of a container that writes dots, is passed on in parts.
func TestLineWriter(t *testing.T) {
	var parts []string
	w := &LineWriter{Max: 4, Line: func(line []byte) error {
		parts = append(parts, string(line))
		return nil
	}}
	for _, text := range []string{"ab", "cdef", "g", "hi\n", "\n", "12345\n67"} {
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"abcd", "efgh", "i\n", "\n", "1234", "5\n", "67"}; !slices.Equal(parts, want) {
		t.Errorf("%q, want %q", parts, want)
	}
	parts = nil
	w = &LineWriter{Line: w.Line}
	for range 1 << 10 {
		if _, err := w.Write(make([]byte, 2<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if len(parts) != 2 || len(w.rest) != 0 {
		t.Errorf("%d parts, and %d bytes are kept", len(parts), len(w.rest))
	}
}
