package logfile

import (
	"os"
	"path/filepath"
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
