package jsonscan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// read reads any value by hand.
func read(s *Scanner) any {
	switch s.next() {
	case '{':
		m := map[string]any{}
		s.Object(func(name string) { m[strings.Clone(name)] = read(s) })
		return m
	case '[':
		l := []any{}
		s.Array(func() { l = append(l, read(s)) })
		return l
	case '"':
		return s.String()
	case 't', 'f':
		return s.Bool()
	case 'n':
		s.Null()
		return nil
	}
	var f float64
	if json.Unmarshal([]byte(s.Value()), &f) != nil {
		s.Fail("a number that fits")
	}
	return f
}

var texts = []string{
	`{"a":[1,-2.5e+3,0,-0.1E-7,true,false,null,"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"],"":{" ":{}}}`, " \t\r\n[ ] ", `"plain"`, `"ü"`, "\"\xff\"", `"\ud800"`,
	``, `{`, `[1,]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `[1 2]`, `01`, `1.`, `.5`, `-`, `1e`, `+1`, `"\x"`, `"\u12g4"`, "\"\n\"", `"`, `"\`, `tru`, `nul`, `{}x`, "{}\x00",
}

func FuzzScanner(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var want any
		err := json.Unmarshal([]byte(text), &want)
		for how, s := range map[string]*Scanner{"copying": New([]byte(text)), "sharing": NewSharing(text)} {
			got := read(s)
			if (s.End() == nil) != (err == nil) {
				t.Errorf("%s: %q: %v, encoding/json says %v", how, text, s.End(), err)
			} else if err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q is %v, want %v", how, text, got, want)
			}
		}
		skipping := New([]byte(text))
		if skipping.Skip(); (skipping.End() == nil) != json.Valid([]byte(text)) {
			t.Errorf("%q was skipped: %v, valid: %v", text, skipping.End(), err == nil)
		}
	})
}

// What was read stays when the text goes.
func TestCopies(t *testing.T) {
	text := []byte(`{"name":["value"]}`)
	got := Map(New(text), func(s *Scanner) []string { return List(s, (*Scanner).String) })
	for i := range text {
		text[i] = 'x'
	}
	if want := map[string][]string{"name": {"value"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Null is what encoding/json makes of it: nothing.
func TestNull(t *testing.T) {
	s := New([]byte(`[null,null,null,null,null,null,null,null]`))
	var got []any
	i := 0
	s.Array(func() {
		got = append(got, []func() any{
			func() any { return s.String() }, func() any { return s.Int(0) }, func() any { return s.Uint(16) }, func() any { return s.Bool() },
			func() any { return s.Time().IsZero() }, func() any { return List(s, (*Scanner).String) == nil }, func() any { return Map(s, (*Scanner).String) == nil },
			func() any { s.Object(func(string) { t.Error("a field of null") }); return nil },
		}[i]())
		i++
	})
	want := []any{"", int64(0), uint64(0), false, true, true, true, nil}
	if err := s.End(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		`[1,x]`: `byte 3 is "x]", want a number`,
		`[300]`: `byte 1 is "300]", want an integer that fits`,
		`{"a" 1, "and much more than is of use": 2}`: `byte 5 is "1, \"and much more th", want ':'`,
		`[1`: `byte 2 is "", want ']'`,
	} {
		s := New([]byte(text))
		if text[0] == '[' {
			s.Array(func() { s.Uint(8) })
		} else {
			s.Object(func(string) { s.Skip() })
		}
		if err := s.End(); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
