package configfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
)

// edit is what Update does to the bytes of an existing file.
func edit(data, next string) (string, error) {
	out, err := deciding(to(next))(version{exists: true, data: []byte(data)})
	return string(out), err
}

func TestSet(t *testing.T) {
	for _, tc := range []struct{ name, in, next, want string }{
		{"replace", `{"currentContext":"a"}`, "rd", `{"currentContext":"rd"}`},
		{"replace keeps all spaces", "{ \"currentContext\"\t:\n \"a\" , \"x\":1 }\n\n", "rd", "{ \"currentContext\"\t:\n \"rd\" , \"x\":1 }\n\n"},
		{"same value, another spelling", `{"currentContext":"\u0072d"}`, "rd", `{"currentContext":"\u0072d"}`},
		{"escaped key", `{"\u0063urrentContext":"a"}`, "rd", `{"\u0063urrentContext":"rd"}`},
		{"another case", `{"CURRENTcontext":"a"}`, "rd", `{"CURRENTcontext":"rd"}`},
		{"the last duplicate wins", `{"currentContext":"a","x":1,"currentContext":"b"}`, "rd", `{"currentContext":"a","x":1,"currentContext":"rd"}`},
		{"another case wins too", `{"currentContext":"a","CurrentContext":"b"}`, "rd", `{"currentContext":"a","CurrentContext":"rd"}`},
		{"null leaves the earlier", `{"currentContext":"a","currentContext":null}`, "rd", `{"currentContext":"rd","currentContext":null}`},
		{"null", `{"currentContext":null}`, "rd", `{"currentContext":"rd"}`},
		{"nested keys of that name are others", `{"x":{"currentContext":"a"},"y":[{"currentContext":"b"}]}`, "rd", `{"x":{"currentContext":"a"},"y":[{"currentContext":"b"}],"currentContext":"rd"}`},
		{"insert, tabs", "{\n\t\"auths\": {}\n}", "rd", "{\n\t\"auths\": {},\n\t\"currentContext\": \"rd\"\n}"},
		{"insert, spaces, final newline", "{\n    \"a\" : 1,\n    \"b\" : {\n        \"c\" : 2\n    }\n}\n", "rd", "{\n    \"a\" : 1,\n    \"b\" : {\n        \"c\" : 2\n    },\n    \"currentContext\" : \"rd\"\n}\n"},
		{"insert, CRLF", "{\r\n  \"a\": 1\r\n}\r\n", "rd", "{\r\n  \"a\": 1,\r\n  \"currentContext\": \"rd\"\r\n}\r\n"},
		{"insert, compact", `{"a":1}`, "rd", `{"a":1,"currentContext":"rd"}`},
		{"insert, one line", `{ "a": 1, "b": 2 }`, "rd", `{ "a": 1, "b": 2, "currentContext": "rd" }`},
		{"insert, empty object", `{}`, "rd", `{"currentContext": "rd"}`},
		{"insert, empty object of lines", "{\n}\n", "rd", "{\"currentContext\": \"rd\"\n}\n"},
		{"insert, empty file", "", "rd", `{"currentContext": "rd"}`},
		{"insert, blank file", "\n \n", "rd", "{\"currentContext\": \"rd\"}\n \n"},
		{"html stays", `{"psFormat":"a&b<c>\u0026"}`, "a&b<", `{"psFormat":"a&b<c>\u0026","currentContext":"a&b<"}`},
		{"unknown keys, order, numbers", `{"z":1.50,"unknown":{"y":[1e3,null]},"a":12345678901234567890}`, "rd", `{"z":1.50,"unknown":{"y":[1e3,null]},"a":12345678901234567890,"currentContext":"rd"}`},
		{"invalid UTF-8 stays", "{\"x\":\"\xff\"}", "rd", "{\"x\":\"\xff\",\"currentContext\":\"rd\"}"},
		{"unset the last", "{\n\t\"a\": 1,\n\t\"currentContext\": \"rd\"\n}\n", "", "{\n\t\"a\": 1\n}\n"},
		{"unset the first", "{\n\t\"currentContext\": \"rd\",\n\t\"a\": 1\n}\n", "", "{\n\t\"a\": 1\n}\n"},
		{"unset in between", `{"a":1, "currentContext":"rd", "b":2}`, "", `{"a":1, "b":2}`},
		{"unset the only one", "{\n\t\"currentContext\": \"rd\"\n}", "", "{\n}"},
		{"unset what we could have made", `{ "currentContext": "rd" }`, "", `{ }`},
		{"unset with duplicates", `{"CurrentContext":"a","currentContext":"b"}`, "", `{"CurrentContext":"a","currentContext":""}`},
		{"unset what is unset", `{"currentContext":""}`, "", `{"currentContext":""}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := edit(tc.in, tc.next)
			if err != nil || got != tc.want {
				t.Errorf("set %q in\n%s\ngives\n%s (%v), want\n%s", tc.next, tc.in, got, err, tc.want)
			}
		})
	}
}

func TestRefusedContent(t *testing.T) {
	for _, tc := range []struct {
		name, in     string
		reason       Reason
		line, column int
	}{
		{"byte-order mark", "\xef\xbb\xbf{}", BOM, 1, 1},
		{"byte-order mark alone", "\xef\xbb\xbf", BOM, 1, 1},
		{"UTF-16", "\xff\xfe{\x00}\x00", InvalidJSON, 1, 1},
		{"NUL bytes", "\x00\x00\x00", InvalidJSON, 1, 1},
		{"no quotes", "{\n  \"a\": 1,\n  b: 2\n}", InvalidJSON, 3, 3},
		{"columns count characters", "{\"äöü\": x}", InvalidJSON, 1, 9},
		{"comma at the end", "{\r\n\"a\": 1,\r\n}", InvalidJSON, 3, 1},
		{"comment", "{} // hello", TrailingData, 1, 4},
		{"cut off", "{\n\"a\": 1", InvalidJSON, 2, 7},
		{"cut off in a string", "{\"a", InvalidJSON, 1, 4},
		{"cut off after a line", "{\n", InvalidJSON, 2, 1},
		{"two objects", "{}\n\n  {}", TrailingData, 3, 3},
		{"a brace too many", "{}}", TrailingData, 1, 3},
		{"null", "null", WrongType, 1, 1},
		{"array", "\n[]", WrongType, 2, 1},
		{"string", `"x"`, WrongType, 1, 1},
		{"our key is a number", "{\n\"currentContext\": 17}", WrongType, 2, 19},
		{"auths of a wrong type", `{"auths": "none", "currentContext": "a"}`, WrongType, 1, 11},
		{"feature of a wrong type", "{\"features\": {\n\t\"buildkit\": true}}", WrongType, 2, 14},
		{"auth that docker can't decode", `{"auths": {"x": {"auth": "!"}}}`, WrongType, 1, 17},
		{"too deep", strings.Repeat("[", 20000), InvalidJSON, 1, 10001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := edit(tc.in, "rd")
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok {
				t.Fatalf("error %v, want a refusal", err)
			}
			if refused.Reason != tc.reason || refused.Line != tc.line || refused.Column != tc.column {
				t.Errorf("refused for %s at %d:%d (%v), want %s at %d:%d",
					refused.Reason, refused.Line, refused.Column, err, tc.reason, tc.line, tc.column)
			}
		})
	}
}

func TestInvalidName(t *testing.T) {
	if out, err := edit(`{}`, "\xff"); err == nil {
		t.Errorf("a name that JSON can't hold was written: %q", out)
	}
}

func TestDuplicates(t *testing.T) {
	data := "{\"a\":{\"x\":1,\"X\":2,\"x\":3,\"x\":4},\n \"b\":[{\"y\":1},{\"y\":1}],\n \"A\":\"a\"}"
	var got []string
	for _, f := range duplicates([]byte(data)) {
		line, column := f.Line, f.Column
		got = append(got, string(f.Reason)+" "+string(rune('0'+line))+":"+string(rune('0'+column/10))+string(rune('0'+column%10)))
	}
	if want := []string{"DuplicateKey 1:19", "DuplicateKey 3:02"}; !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		newer, older string
		want         bool
	}{
		{`{"auths":{"a":{"auth":"x"},"b":{}}}`, `{"auths":{"a":{"auth":"x"}},"currentContext":"rd"}`, true},
		{`{"auths":{"a":{"auth":"y"}}}`, `{"auths":{"a":{"auth":"x"}}}`, false},
		{`{"auths":{}}`, `{"auths":{"a":{}}}`, false},
		{`{"auths":[]}`, `{"auths":{}}`, false},
		{`broken`, `{}`, false},
		{`{}`, `broken`, false},
	} {
		if got := covers([]byte(tc.newer), []byte(tc.older)); got != tc.want {
			t.Errorf("covers(%s, %s) = %t", tc.newer, tc.older, got)
		}
	}
}

var seeds = []string{
	"", " ", "{}", "{\n}\n", "null", "[]", `"x"`, "\xef\xbb\xbf{}", "{} {}", "{\"a\":1", "\x00",
	`{"currentContext":"a"}`, `{"currentContext":null}`, `{"currentContext":1}`, `{ "currentContext": "rd" }`,
	`{"\u0063urrentContext":"a","CurrentContext":"b","currentContext":null,"currentcontext":""}`,
	"{\r\n  \"auths\" : { \"x\": { \"auth\": \"dTpw\" } } ,\r\n  \"unknown\": [ 1.0, {\"currentContext\": 2} ]\r\n}\r\n",
	"{\n\t\"psFormat\": \"a&b<c>\",\n\t\"currentContext\": \"\xff\"\n}",
	`{"auths":"x","currentContext":"a"}`, `{"currentContext":{"a":1}}`,
}

// FuzzSet: a refusal, or docker sees exactly the one key changed and every other byte
// is the same.
func FuzzSet(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), "rd")
		f.Add([]byte(seed), "")
		f.Add([]byte(seed), "a&<\"\u2028")
	}
	f.Fuzz(func(t *testing.T, data []byte, next string) {
		out, err := edit(string(data), next)
		if err != nil {
			return
		}
		checkEdit(t, string(data), out, next)
	})
}

// checkEdit does not use the code that it judges.
func checkEdit(t *testing.T, before, after, next string) {
	t.Helper()
	b, err := dockerconfig.LoadFromReader(strings.NewReader(before))
	if err != nil {
		t.Fatalf("docker can't load %q (%v), but it was edited", before, err)
	}
	a, err := dockerconfig.LoadFromReader(strings.NewReader(after))
	if err != nil {
		t.Fatalf("docker can't load %q, made from %q: %v", after, before, err)
	}
	was := b.CurrentContext
	if a.CurrentContext != next {
		t.Fatalf("docker sees %q in %q, want %q", a.CurrentContext, after, next)
	}
	if was == next && after != before {
		t.Fatalf("%q was changed to %q for nothing", before, after)
	}
	if normal(b) != normal(a) {
		t.Fatalf("docker sees more changed between %q and %q", before, after)
	}
	if x, y := others(t, before), others(t, after); x != y {
		t.Fatalf("other bytes were changed from %q to %q: %s, %s", before, after, x, y)
	}
	if was == "" && !hasKey(before) {
		want := before
		if isBlank(before) && next != "" {
			want = "{}" + before
		}
		again, err := edit(after, "")
		if err != nil || again != want {
			t.Fatalf("set and unset in %q gives %q (%v)", before, again, err)
		}
	}
}

func normal(c *configfile.ConfigFile) string {
	c.CurrentContext = ""
	out, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// others is what is in the file beside our key: each other member's bytes, and what is
// before and behind the object.
func others(t *testing.T, data string) string {
	if isBlank(data) {
		return "|" + data // as of an object before it
	}
	dec := json.NewDecoder(strings.NewReader(data))
	var out bytes.Buffer
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	out.WriteString(strings.TrimSuffix(data[:dec.InputOffset()], "{") + "|")
	for dec.More() {
		start := dec.InputOffset()
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if !strings.EqualFold(name.(string), "currentContext") {
			out.WriteString(strings.TrimLeft(data[start:dec.InputOffset()], ", \t\r\n") + "|")
		}
	}
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	return out.String() + data[dec.InputOffset():]
}

func isBlank(data string) bool { return strings.TrimLeft(data, " \t\r\n") == "" }

func hasKey(data string) bool {
	var m map[string]any
	_ = json.Unmarshal([]byte(data), &m)
	for name := range m {
		if strings.EqualFold(name, "currentContext") {
			return true
		}
	}
	return false
}
