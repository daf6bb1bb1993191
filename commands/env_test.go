package commands

import (
	"os/exec"
	"testing"

	"github.com/docker-rd/docker-rd/internal/test/wine"
)

func TestShellLine(t *testing.T) {
	const odd = `unix:///a b'c\d"$x` + "`e`"
	for _, tc := range []struct{ shell, value, want string }{
		{"sh", "unix:///run/docker.sock", `export N=unix:///run/docker.sock`},
		{"sh", odd, `export N='unix:///a b'\''c\d"$x` + "`e`'"},
		{"sh", "", `unset N`},
		{"fish", odd, `set -gx N 'unix:///a b\'c\\d"$x` + "`e`';"},
		{"fish", "", `set -e N;`},
		{"powershell", odd, `$Env:N = 'unix:///a b''c\d"$x` + "`e`'"},
		{"powershell", "a\u2019b", "$Env:N = 'a\u2019\u2019b'"},
		{"cmd", `npipe:////./pipe/a b&c`, `SET "N=npipe:////./pipe/a b&c"`},
		{"cmd", "", `SET "N="`},
		{"powershell", "", `Remove-Item Env:N -ErrorAction SilentlyContinue`},
	} {
		if got := shellLine(tc.shell, "N", tc.value); got != tc.want {
			t.Errorf("%s, %q: %s, want %s", tc.shell, tc.value, got, tc.want)
		}
	}
}

// What is quoted for sh is one word of the same text there.
func FuzzShellQuote(f *testing.F) {
	wine.Skip(f)
	for _, s := range []string{"", "a", "a b", "'", `\`, "$HOME", "~", "a\nb", "*", "=x", "#"} {
		f.Add(s)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range s {
			if c == 0 {
				t.Skip("no argument has a NUL")
			}
		}
		out, err := exec.Command(sh, "-c", "printf %s. "+shellQuote(s)).Output()
		if err != nil || string(out) != s+"." {
			t.Errorf("%q, quoted as %s, is %q: %v", s, shellQuote(s), out, err)
		}
	})
}
