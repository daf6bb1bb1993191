package configfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// setTo sets the same options to a value.
func setTo(value string, options ...string) func(Options) []Option {
	return func(Options) (all []Option) {
		for _, name := range options {
			all = append(all, Option{[]string{"plugins", "rd", name}, value})
		}
		return all
	}
}

// What is set for a plugin is what docker sees, and leaves no trace when it is taken out.
func TestUpdateOptions(t *testing.T) {
	const (
		tail  = `"rd": {"error-hooks": "ps,run"}`
		whole = `"plugins": {` + tail + `}`
	)
	for name, test := range map[string]struct{ before, during string }{
		"docker's":       {"{\n\t\"auths\": {},\n\t\"currentContext\": \"a\"\n}", "{\n\t\"auths\": {},\n\t\"currentContext\": \"a\",\n\t" + whole + "\n}"},
		"an object":      {"{}\n", "{ " + whole + "}\n"},
		"a wide object":  {"{\n}\n", "{ " + whole + "\n}\n"},
		"other plugins":  {`{"plugins":{"x":{"hooks":"a"}}}`, `{"plugins":{"x":{"hooks":"a"},` + tail + `}}`},
		"no plugins":     {`{"plugins":{}}`, `{"plugins":{ ` + tail + `}}`},
		"a line of them": {"{\"Plugins\": {\n  \"x\": {}\n}}", "{\"Plugins\": {\n  \"x\": {},\n  " + tail + "\n}}"},
		"ours is empty":  {`{"plugins":{"rd":{}}}`, `{"plugins":{"rd":{ "error-hooks": "ps,run"}}}`},
		"other options":  {`{"plugins":{"rd":{ "x" : "y" } },"a":1}`, `{"plugins":{"rd":{ "x" : "y","error-hooks": "ps,run" } },"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.json")
			check := func(what, want string) {
				t.Helper()
				if got, err := os.ReadFile(path); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v, want %q", what, got, err, want)
				}
			}
			if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
				t.Fatal(err)
			}
			set := func(value string, want bool) {
				t.Helper()
				changed, err := UpdateOptions(context.Background(), path, setTo(value, "error-hooks"))
				if err != nil || changed != want {
					t.Errorf("changed: %v, %v", changed, err)
				}
			}
			set("", false)
			set("ps,run", true)
			check("set", test.during)
			set("ps,run", false)
			if changed, err := UpdateOptions(context.Background(), path, func(o Options) []Option {
				if got := o.Plugins["rd"]["error-hooks"]; got != "ps,run" {
					t.Errorf("it is %q", got)
				}
				return nil
			}); changed || err != nil {
				t.Errorf("changed: %v, %v", changed, err)
			}
			set("", true)
			check("taken out", test.before)
		})
	}
}

// Two options at once, in a file that is not there; what is left is an empty object.
func TestUpdateOptionsInNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker", "config.json")
	for _, test := range []struct{ value, want string }{
		{"x", "{\n\t\"plugins\": {\"rd\": {\"error-hooks\": \"x\",\"hooks\": \"x\"}}\n}\n"}, {"", "{\n}\n"},
	} {
		if _, err := UpdateOptions(context.Background(), path, setTo(test.value, "error-hooks", "hooks")); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != test.want {
			t.Errorf("%q, %v, want %q", got, err, test.want)
		}
	}
}

// What docker can't load, and what is no place for options, stays as it is.
func TestUpdateOptionsRefused(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `null`, `{"plugins":"x"}`, `{"plugins":{"rd":[]}}`, `{"plugins":{"rd":{"error-hooks":1}}}`,
		`{"plugins":{"rd":{"error-hooks":"a","error-hooks":"b"}}}`, `{"plugins":{},"plugins":{}}`, `{"plugins":null}`, `{"plugins":{"rd":null}}`,
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := UpdateOptions(context.Background(), path, setTo("ps", "error-hooks")); err == nil || changed {
			t.Errorf("%s was changed: %v, %v", text, changed, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s became %q, %v", text, got, err)
		}
	}
}

// Where there are no options, none has to be taken out; where there is no place for one, no wrong
// place is told.
func TestUpdateOptionsNull(t *testing.T) {
	for _, text := range []string{`{"plugins":null}`, `{"plugins":{"rd":null}}`} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := UpdateOptions(context.Background(), path, setTo("", "error-hooks")); err != nil || changed {
			t.Errorf("%s: changed: %v, %v", text, changed, err)
		}
		_, err := UpdateOptions(context.Background(), path, setTo("ps", "error-hooks"))
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Line != 0 {
			t.Errorf("%s: %v", text, err)
		}
	}
}
