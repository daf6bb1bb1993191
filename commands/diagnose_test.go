package commands

import (
	"archive/tar"
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestHideSecrets(t *testing.T) {
	for name, tc := range map[string]struct{ line, want string }{
		"nothing":             {"https://example.test/a:b@c", "https://example.test/a:b@c"},
		"a proxy":             {`"HttpProxy": "http://user:pass@proxy:3128/",`, `"HttpProxy": "http://user:****@proxy:3128/",`},
		"no user":             {"tcp://:pass@host:1", "tcp://:****@host:1"},
		"two":                 {"a://b:cc@d e://f:g@h", "a://b:**@d e://f:*@h"},
		"only a user":         {"ssh://user@host:22", "ssh://user@host:22"},
		"a port and an at":    {"http://host:80/x@y", "http://host:80/x@y"},
		"an environment":      {`{"Env":["A=b"],"Cmd":["c"]}`, `{"Env":[*****],"Cmd":["c"]}`},
		"one that is quoted":  {`msg="form data: {\"Env\":[\"A=b\"],\"Image\":\"c\"}"`, `msg="form data: {\"Env\":[*******],\"Image\":\"c\"}"`},
		"a token as a user":   {"https://ghp_1@example.test/", "https://*****@example.test/"},
		"an at in a password": {"http://user:p@ss@proxy:3128/", "http://user:****@proxy:3128/"},
		"a list in an environment": {
			`{"Env":["A=[1]","B={\"x\":[\"y\"]}","C=d"],"Cmd":["c"]}`,
			`{"Env":[*********************************],"Cmd":["c"]}`,
		},
		"one that is quoted, with a list": {
			`data: {\"Env\":[\"A=[1]\",\"B={\\\"x\\\":[\\\"y\\\"]}\",\"C=d\"],\"Image\":\"c\"}`,
			`data: {\"Env\":[***********************************************],\"Image\":\"c\"}`,
		},
		"an argument with spaces":        {`["-e","API_KEY=a b,c","-v"]`, `["-e","API_KEY=*****","-v"]`},
		"the next argument with a quote": {`["--password","a \"b\" c","-v"]`, `["--password","*********","-v"]`},
		"an empty argument":              {`["--password=","-v"]`, `["--password=","-v"]`},
		"quoted in a command":            {`["-c","x; DB_PASS='a b' mysql --password 'c d'"]`, `["-c","x; DB_PASS='***' mysql --password '***'"]`},
		"quoted otherwise in a command":  {`["-c","export TOKEN=\"a b\"; x --secret \"c\""]`, `["-c","export TOKEN=\"***\"; x --secret \"*\""]`},
		"a list of options":              {"token=a,b&c d", "token=***** d"},
		"a value with a quote":           {`{"password": "a\"b", "c": "d"}`, `{"password": "****", "c": "d"}`},
		"a build's argument":             {`Calling POST /build?buildargs=%7B%22A%22&t=x"`, `Calling POST /build?buildargs=**********&t=x"`},
		"a log option":                   {`{"splunk-token": "abc", "max-size": "1m"}`, `{"splunk-token": "***", "max-size": "1m"}`},
		"an argument":                    {`["--password=abc","-v"]`, `["--password=***","-v"]`},
		"the next argument":              {`"args":["--db-password","abc","-v"]`, `"args":["--db-password","***","-v"]`},
		"in a command":                   {`["-c","login -token abc; x"]`, `["-c","login -token **** x"]`},
		"a part of a word":               {"a non-secret text", "a non-secret text"},
		"a header":                       {`X-Auth: Bearer abcdefgh1234`, `X-Auth: Bearer ************`},
		"a word":                         {"the token is not a secret", "the token is not a secret"},
	} {
		line := []byte(tc.line)
		hideSecrets(line)
		if string(line) != tc.want {
			t.Errorf("%s: %s, want %s", name, line, tc.want)
		}
	}
}

func FuzzHideSecrets(f *testing.F) {
	f.Add("http://u:", "pass", "@host")
	f.Add(`{"Env":[`, `"A=b"`, `]}`)
	f.Fuzz(func(t *testing.T, before, middle, after string) {
		line := []byte(before + middle + after)
		hideSecrets(line)
		if len(line) != len(before+middle+after) {
			t.Errorf("%q has another length", line)
		}
		for i, c := range []byte(before + middle + after) {
			if line[i] != c && line[i] != '*' {
				t.Fatalf("%q becomes %q", before+middle+after, line)
			}
		}
	})
}

func TestRelevantEnvironment(t *testing.T) {
	got := relevantEnvironment([]string{
		"AWS_SECRET=x", "DOCKER_HOST=unix:///x", "DOCKER_AUTH_CONFIG={}", "DOCKER_TOKEN=t", "XDG_STATE_HOME=/s", "HOME=/h", "HTTP_PROXY=http://a:b@c", "HOMEX=1",
	})
	if want := []string{
		"DOCKER_AUTH_CONFIG=***", "DOCKER_HOST=unix:///x", "DOCKER_TOKEN=***", "HOME=/h", "HTTP_PROXY=http://a:b@c", "XDG_STATE_HOME=/s",
	}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A log that is truncated while it is added does not spoil the archive.
func TestDiagnoseTruncated(t *testing.T) {
	var out bytes.Buffer
	d := diagnosis{archive: tar.NewWriter(&out), root: "x"}
	d.add("log", 10, strings.NewReader("one\ntwo"))
	d.add("next", 4, strings.NewReader("more"))
	if err := cmp.Or(d.err, d.archive.Close()); err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(&out)
	for _, want := range []string{"one\ntwo\n\n\n", "more"} {
		if _, err := archive.Next(); err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(archive); string(data) != want || err != nil {
			t.Errorf("%q, %v, want %q", data, err, want)
		}
	}
}
