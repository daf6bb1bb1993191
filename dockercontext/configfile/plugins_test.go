package configfile

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// What is set for a plugin is what docker sees, and leaves no trace when it is taken out.
func TestSetPlugin(t *testing.T) {
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
				changed, err := SetPlugin(context.Background(), path, "rd", Setting{"error-hooks", value})
				if err != nil || changed != want {
					t.Errorf("changed: %v, %v", changed, err)
				}
			}
			set("", false)
			set("ps,run", true)
			check("set", test.during)
			set("ps,run", false)
			if got, err := Plugin(path, "rd"); err != nil || got["error-hooks"] != "ps,run" {
				t.Errorf("it is %v, %v", got, err)
			}
			set("", true)
			check("taken out", test.before)
		})
	}
}

// Two options at once, in a file that is not there; what is left is an empty object.
func TestSetPluginInNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker", "config.json")
	if got, err := Plugin(path, "rd"); err != nil || len(got) > 0 {
		t.Errorf("it is %v, %v", got, err)
	}
	for _, test := range []struct{ value, want string }{
		{"x", "{\n\t\"plugins\": {\"rd\": {\"error-hooks\": \"x\",\"hooks\": \"x\"}}\n}\n"}, {"", "{\n}\n"},
	} {
		if _, err := SetPlugin(context.Background(), path, "rd", Setting{"error-hooks", test.value}, Setting{"hooks", test.value}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != test.want {
			t.Errorf("%q, %v, want %q", got, err, test.want)
		}
	}
}

// What docker can't load, and what is no place for options, stays as it is.
func TestSetPluginRefused(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `null`, `{"plugins":"x"}`, `{"plugins":{"rd":[]}}`, `{"plugins":{"rd":{"error-hooks":1}}}`,
		`{"plugins":{"rd":{"error-hooks":"a","error-hooks":"b"}}}`, `{"plugins":{},"plugins":{}}`, `{"plugins":null}`, `{"plugins":{"rd":null}}`,
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if changed, err := SetPlugin(context.Background(), path, "rd", Setting{"error-hooks", "ps"}); err == nil || changed {
			t.Errorf("%s was changed: %v, %v", text, changed, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s became %q, %v", text, got, err)
		}
	}
}
