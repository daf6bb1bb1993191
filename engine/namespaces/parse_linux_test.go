package namespaces

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSlirpsLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for log, want := range map[string]string{
		"": "it ended without a message",
		"sent tapfd=5 for tap0\nopen /dev/net/tun: No such device\nchild failed(1)\n": "open /dev/net/tun: No such device",
		"slirp4netns: unrecognized option '--netns-type=path'\n":                      "unrecognized option '--netns-type=path'",
	} {
		if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (Engine{SlirpLog: path}).LastWords(); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

func TestPortRange(t *testing.T) {
	for _, host := range []string{"", "x y", "1", "2 1", "1024 70000", "-1 5"} {
		if got := portRange(host, "a"); got != "" {
			t.Errorf("%q: %q", host, got)
		}
	}
	if got := portRange("40000\t40001\n", "a"); got != "40000 40001" {
		t.Errorf("two ports: %q", got)
	}
	var begins []int
	for _, uid := range []string{"a", "b", "c", "d"} {
		var first, last int
		if _, err := fmt.Sscan(portRange("32768\t60999\n", uid), &first, &last); err != nil {
			t.Fatal(err)
		}
		if first < 32768 || first > 46883 || first%2 != 0 || last != 60999 {
			t.Errorf("%s: %d to %d", uid, first, last)
		}
		begins = append(begins, first)
	}
	slices.Sort(begins)
	if n := len(slices.Compact(slices.Clone(begins))); n != len(begins) {
		t.Errorf("engines begin at the same port: %v", begins)
	}
}
