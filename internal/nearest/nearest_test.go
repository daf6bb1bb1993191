package nearest

import (
	"slices"
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	names := []string{"start", "status", "stop", "set", "ls", "rm", "containers", "promote", "probe", "logs", "daemon-config"}
	for word, want := range map[string]string{
		"stat": "start status", "satrt": "start", "strat": "start", "statsu": "status", "sl": "ls", "sotp": "stop",
		"contianers": "containers", "container": "containers", "daemon-confg": "daemon-config",
		"START": "start", "bogus": "", "prmote": "promote", "sttaus": "status", "colour": "", "": "", "start": "", "nothing-of-the-kind": "", "r": "rm",
	} {
		if got := To(word, names); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("To(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"ab", "ba", 1}, {"ca", "abc", 3}, {"größe", "grösse", 2}} {
		if a, b := distance(tc.a, tc.b), distance(tc.b, tc.a); a != tc.want || b != tc.want {
			t.Errorf("distance(%q, %q) = %d and %d, want %d", tc.a, tc.b, a, b, tc.want)
		}
	}
}
