package systemd

import "testing"

func TestQuote(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{Quote(`A=a b%n "c" \`), `"A=a b%%n \"c\" \\"`},
		{Quote("$HOME"), `"$HOME"`}, // nothing to systemd there
		{Command("/a b/docker-rd", "$x"), `"/a b/docker-rd" "$$x"`},
		{Literal("/50%/a b"), "/50%%/a b"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
}
