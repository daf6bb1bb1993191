package output

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/failure"
)

type row struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

var (
	layout = Layout{Table: "{{.Name}}\t{{.State}}", Key: "{{.Name}}"}
	rows   = []row{{"a", "up"}, {"<b>", "a longer state"}}
)

func TestWriteRows(t *testing.T) {
	for name, tc := range map[string]struct {
		o    Options
		rows []row
		want string // "" for a refusal
	}{
		"a table":                 {Options{}, rows, "NAME      STATE\na         up\n<b>       a longer state\n"},
		"a table of nothing":      {Options{}, nil, "NAME      STATE\n"},
		"another table":           {Options{Format: "table {{.State}}"}, rows, "STATE\nup\na longer state\n"},
		"a template":              {Options{Format: `{{.Name}}\t{{json .State}}`}, rows, "a\t\"up\"\n<b>\t\"a longer state\"\n"},
		"keys":                    {Options{Quiet: true}, rows, "a\n<b>\n"},
		"JSON":                    {Options{Format: "json"}, rows, `{"name":"a","state":"up"}` + "\n" + `{"name":"<b>","state":"a longer state"}` + "\n"},
		"JSON, quietly":           {Options{Format: "json", Quiet: true}, rows[:1], `{"name":"a","state":"up"}` + "\n"},
		"no template":             {Options{Format: "{{"}, rows, ""},
		"a template of no use":    {Options{Format: "{{.Nope}}"}, rows, ""},
		"the same without a row":  {Options{Format: "{{.Nope}}"}, nil, ""},
		"a template of no column": {Options{Format: "table {{.Nope}}"}, nil, ""},
	} {
		var b strings.Builder
		err := WriteRows(&b, tc.o, layout, tc.rows)
		if got := b.String(); got != tc.want || (err != nil) != (tc.want == "") || err != nil && failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tc.want)
		}
	}
}

func TestWriteObject(t *testing.T) {
	people := func(w io.Writer) error { _, err := fmt.Fprintln(w, "for people"); return err }
	for format, want := range map[string]string{
		"": "for people\n", "table": "for people\n",
		"json":      "{\n  \"name\": \"<b>\",\n  \"state\": \"a longer state\"\n}\n",
		"{{.Name}}": "<b>\n",
		"{{.Nope}}": "", "{{": "",
	} {
		var b strings.Builder
		err := WriteObject(&b, Options{Format: format}, rows[1], people)
		if got := b.String(); got != want || (err != nil) != (want == "") || err != nil && failure.Code(err) != failure.CodeRefused {
			t.Errorf("%q: %q, %v, want %q", format, got, err, want)
		}
	}
}

// Rows that come later stand below those that came before, under one header. A column
// only grows.
func TestStream(t *testing.T) {
	for name, tc := range map[string]struct {
		o    Options
		want string // "" for a refusal
	}{
		"a table":          {Options{}, "NAME      STATE\na         up\nlonger than a header   up\nb                      up\n"},
		"keys":             {Options{Quiet: true}, "a\nlonger than a header\nb\n"},
		"a template":       {Options{Format: `{{.State}}:{{.Name}}`}, "up:a\nup:longer than a header\nup:b\n"},
		"JSON":             {Options{Format: "json"}, `{"name":"a","state":"up"}` + "\n" + `{"name":"longer than a header","state":"up"}` + "\n" + `{"name":"b","state":"up"}` + "\n"},
		"no good template": {Options{Format: "{{.Nope}}"}, ""},
	} {
		var b strings.Builder
		s := NewStream(&b, tc.o, layout, row{})
		err := s.WriteRows([]row{{"a", "up"}})
		if err == nil {
			err = s.WriteRows([]row{{"longer than a header", "up"}, {"b", "up"}})
		}
		if got := b.String(); got != tc.want || (err != nil) != (tc.want == "") || err != nil && failure.Code(err) != failure.CodeRefused {
			t.Errorf("%s:\n%s%v, want\n%s", name, got, err, tc.want)
		}
	}
}
