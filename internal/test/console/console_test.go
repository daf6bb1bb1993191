package console

import (
	"reflect"
	"strings"
	"testing"
)

const page = `# A page

<!-- test
prepare
-->

<!-- not run: it says why -->
` + "```sh" + `
not a session
` + "```" + `

` + "```console" + `
$ first \
  --option
out

$ second
` + "```" + `

<!-- file watch.py -->
` + "```python" + `
print("x")
` + "```" + `

- in a list

  ` + "```console" + `
  $ third
    out
  ` + "```" + `
`

func TestParse(t *testing.T) {
	got, err := Parse(page)
	want := []Step{
		{Line: 3, Script: "prepare\n"},
		{Line: 13, Command: "first \\\n  --option", Output: []string{"out", ""}},
		{Line: 17, Command: "second"},
		{Line: 21, File: "watch.py", Text: "print(\"x\")\n"},
		{Line: 28, Command: "third", Output: []string{"  out"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"```console\nout\n```\n", "```\nx\n```\n", "```console\n$ x\n", "<!-- test\n", "```sh\nx\n```\n", "x\n\n    x\n"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		want, got string
		same      bool
	}{
		{"", "", true},
		{"a", "", false},
		{"", "a", false},
		{"a\nb", "a\nb\n", true},
		{"a\n...\nd", "a\nb\nc\nd", true},
		{"a\n...", "a", true},
		{"a\n...", "b", false},
		{" ✔ Engine answers      0.5s", " ✔ Engine answers  12.1s", true},
		{"ready (505ms)", "ready (1.2s)", true},
		{"ready (505ms)", "ready (soon)", false},
		{"6ba2035a2c48   web:1   2 seconds ago   Up 1 second", "aaaa035a2c48 web:1 About a minute ago  Up Less than a second", true},
		{"6ba2035a2c48   web:1", "short web:1", false},
		{"20.10.24+dfsg1   1/1   9.43MB", "28.2.2 1/1 328kB", true},
		{"20.10.24+dfsg1   1/1   9.43MB", "28.2.2 2/1 328kB", false},
		{"1/1   9.43MB", "1/1 more than 328kB", true},
		{"a\n ✔ x 1s\n ✔ y 1s\nb", "a\n ✔ y 2s\n ✔ x 3s\nb", true},
		{" ✔ x\nb\n ✔ y", " ✔ y\nb\n ✔ x", false},
		{"a.b", "acb", false},
	} {
		if err := Match(strings.Split(test.want, "\n"), strings.Split(test.got, "\n")); (err == nil) != test.same {
			t.Errorf("%q and %q: %v", test.want, test.got, err)
		}
	}
}
