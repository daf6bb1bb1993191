package rootlessrunc

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWithoutGroup(t *testing.T) {
	for spec, want := range map[string]string{
		`{"linux":{"cgroupsPath":"/default/c","resources":{"devices":[{"allow":false}],"cpu":{"shares":1024}},"x":1e30},"y":12345678901234567890}`: `{"linux":{"resources":{"cpu":{}},"x":1e30},"y":12345678901234567890}`,
		// What is really a limit stays, so that runc refuses it.
		`{"linux":{"cgroupsPath":"/c","resources":{"cpu":{"shares":2},"memory":{"limit":5}}}}`: `{"linux":{"resources":{"cpu":{"shares":2},"memory":{"limit":5}}}}`,
		`{"linux":{"resources":null}}`: `{"linux":{"resources":null}}`,
		`{}`:                           `{}`,
		`{"linux":1}`:                  `{"linux":1}`, // runc says what is wrong with it
	} {
		if got, err := withoutGroup([]byte(spec)); err != nil || string(got) != want {
			t.Errorf("%s is made %s, %v, want %s", spec, got, err, want)
		}
	}
	if _, err := withoutGroup([]byte(`{"linux":`)); err == nil {
		t.Error("nonsense is no error")
	}
}

func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte(`{"linux":{"cgroupsPath":"/c"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"state", "c"}, {"--root", "/r", "create", "--bundle"}, {"create", "--bundle", dir + "/none", "c"}} {
		if err := prepare(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := prepare([]string{"--root", "/r", "create", "--bundle", dir, "c"}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != `{"linux":{}}` {
		t.Errorf("%s, %v", got, err)
	}
}
