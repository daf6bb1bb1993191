package configfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/lock"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// onlyFile fails where anything is beside path.
func onlyFile(t *testing.T, what, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != filepath.Base(path) {
		t.Fatalf("%s: left are %v", what, entries)
	}
}

func has(found []*RefusedError, reason Reason) bool {
	for _, f := range found {
		if f.Reason == reason {
			return true
		}
	}
	return false
}

func to(next string) Decision {
	return func(Value) (Value, bool) { return Value{Name: next}, true }
}

func TestUpdate(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "config.json")
	const before = "{\n\t\"auths\": {},\n\t\"x\": \"<&>\"\n}"
	write(t, path, before)

	if changed, err := Update(ctx, path, func(Value) (Value, bool) { return Value{Name: "rd"}, false }); changed || err != nil {
		t.Fatalf("Update that leaves it = %t, %v", changed, err)
	}
	if changed, err := Update(ctx, path, to("rd")); !changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	if current, err := Current(path); current.Name != "rd" || err != nil {
		t.Fatalf("Current = %q, %v", current, err)
	}
	if changed, err := Update(ctx, path, to("rd")); changed || err != nil {
		t.Fatalf("Update to the same = %t, %v", changed, err)
	}
	if changed, err := Update(ctx, path, to("")); !changed || err != nil {
		t.Fatalf("Update that unsets = %t, %v", changed, err)
	}
	if got := read(t, path); got != before {
		t.Errorf("set and unset gives %q, want %q", got, before)
	}
	onlyFile(t, "after all", path)
	if found := Check(path); len(found) != 0 {
		t.Errorf("Check finds %v", found)
	}
}

func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "config.json")
	if current, err := Current(path); current.Name != "" || err != nil {
		t.Fatalf("Current = %q, %v", current, err)
	}
	if found := Check(path); len(found) != 0 {
		t.Errorf("Check finds %v", found)
	}
	if changed, err := Update(t.Context(), path, to("")); changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made for nothing: %v", err)
	}
	if changed, err := Update(t.Context(), path, to("rd")); !changed || err != nil {
		t.Fatalf("Update = %t, %v", changed, err)
	}
	if got, want := read(t, path), "{\n\t\"currentContext\": \"rd\"\n}\n"; got != want {
		t.Errorf("made is %q, want %q", got, want)
	}
	onlyFile(t, "made", path)
	if changed, err := Update(t.Context(), path, to("")); !changed || err != nil {
		t.Fatalf("Update that unsets = %t, %v", changed, err)
	}
	if got, want := read(t, path), "{\n}\n"; got != want {
		t.Errorf("left is %q, want %q", got, want)
	}
}

func TestCurrentIsDockers(t *testing.T) {
	for _, tc := range []struct {
		content, want string
		reason        Reason
	}{
		{"", "", ""},
		{`{"currentContext":"a"} trailing`, "a", ""},
		{"null", "", ""},
		{`{"CURRENTCONTEXT":"a"}`, "a", ""},
		{`{"currentContext":"a"`, "", InvalidJSON},
		{`{"currentContext":"a","auths":1}`, "a", WrongType},
		{"\xef\xbb\xbf{}", "", BOM},
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, tc.content)
		got, err := Current(path)
		refused, _ := errors.AsType[*RefusedError](err)
		if got.Name != tc.want || (err == nil) != (tc.reason == "") || refused != nil && (refused.Reason != tc.reason || refused.Path != path) {
			t.Errorf("Current of %q = %q, %v", tc.content, got.Name, err)
		}
	}
}

// TestRefusedIsUntouched: whatever the reason, the file is what it was and nothing is
// beside it.
func TestRefusedIsUntouched(t *testing.T) {
	for _, content := range []string{"\xef\xbb\xbf{}", "{} {}", "{", "\x00\x00", `{"auths":1}`, "[]"} {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, content)
		checkRefused(t, path, "")
		if got := read(t, path); got != content {
			t.Errorf("%q became %q", content, got)
		}
	}
	t.Run("directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.json")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, NotRegular)
	})
	t.Run("hard link", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.json")
		other := filepath.Join(t.TempDir(), "other")
		write(t, path, `{}`)
		if err := os.Link(path, other); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, HardLink)
	})
	t.Run("read-only file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, `{}`)
		if err := os.Chmod(path, 0o444); err != nil {
			t.Fatal(err)
		}
		checkRefused(t, path, ReadOnly)
	})
}

// checkRefused wants Update and Check to refuse the file at path, for reason if given.
func checkRefused(t *testing.T, path string, reason Reason) {
	t.Helper()
	before, _ := os.Lstat(path)
	changed, err := Update(t.Context(), path, to("rd"))
	refused, ok := errors.AsType[*RefusedError](err)
	if changed || !ok {
		t.Fatalf("Update = %t, %v, want a refusal", changed, err)
	}
	if reason != "" && refused.Reason != reason || refused.Path == "" {
		t.Errorf("refused for %s at %q, want %s: %v", refused.Reason, refused.Path, reason, err)
	}
	if failure.Code(err) != failure.CodeRefused {
		t.Errorf("exit status %d, want %d", failure.Code(err), failure.CodeRefused)
	}
	if after, _ := os.Lstat(path); before != nil && !os.SameFile(before, after) {
		t.Error("the file was replaced")
	}
	onlyFile(t, "refused", path)
	if reason != NoSpace && !has(Check(path), refused.Reason) {
		t.Errorf("Check does not find %s, but %v", refused.Reason, Check(path))
	}
}

func TestContextEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if changed, err := Update(ctx, path, to("rd")); changed || !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %t, %v", changed, err)
	}
}

// TestTwoOfOurs: writers of ours with different locks, through different links, wait
// for each other, and do not take a living one for a dead one.
func TestTwoOfOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	j, err := openJournal(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := Update(ctx, path, to("rd")); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Update beside a living writer: %v, want that it waits", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- Recover(lock.WithBlocked(ctx, func(*lock.HeldError) { cancel() }), path) }()
	if err := <-done; !errors.Is(err, lock.ErrHeld) {
		t.Errorf("Recover beside a living writer: %v, want that it is held", err)
	}
	go func() { _, err := Update(t.Context(), path, to("rd")); done <- err }()
	if err := j.remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	onlyFile(t, "after both", path)
}

// A change that a process is just making was not interrupted.
func TestCheckBesideChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{}`)
	if has(Check(path), Interrupted) {
		t.Error("a file that nobody changes is called interrupted")
	}
	j, err := openJournal(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if has(Check(path), Interrupted) {
		t.Error("a change under way is called interrupted")
	}
	j.leave()
	if !has(Check(path), Interrupted) {
		t.Error("a change that was given up is not called interrupted")
	}
}

func TestCheckDuplicates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, "{\"a\":1,\n\"a\":2}")
	found := Check(path)
	if len(found) != 1 || found[0].Reason != DuplicateKey || found[0].Line != 2 || found[0].Path != path {
		t.Errorf("Check finds %v", found)
	}
}

// FuzzUpdate is FuzzSet with a file.
func FuzzUpdate(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), "rd")
	}
	f.Fuzz(func(t *testing.T, data []byte, next string) {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, string(data))
		changed, err := Update(t.Context(), path, to(next))
		after := read(t, path)
		onlyFile(t, "after Update", path)
		if err != nil {
			if changed || after != string(data) {
				t.Fatalf("refused (%v), but %q became %q", err, data, after)
			}
			return
		}
		checkEdit(t, string(data), after, next)
	})
}

func TestChosen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if current, ok := Chosen(path); ok {
		t.Errorf("a missing file says %q", current)
	}
	for text, want := range map[string]string{
		"": "silent", " \n": "silent", "{": "silent", `{"currentContext":"a"`: "silent", `{"currentContext":7}`: "silent", "\ufeff{}": "silent",
		"{}": "", `{"currentContext":""}`: "", `{"currentContext":"a"}`: "a",
	} {
		write(t, path, text)
		if current, ok := Chosen(path); ok == (want == "silent") || ok && current != want {
			t.Errorf("%q says %q, %t", text, current, ok)
		}
	}
}

// How a file says that no context is set is kept over a promotion, byte for byte.
func TestUnsetAsItWas(t *testing.T) {
	for _, text := range []string{
		`{"currentContext": null, "detachKeys": "ctrl-x"}`, `{"detachKeys":"x","CurrentContext":""}`, `{"currentContext":null}`, `{}`, "",
		`{"currentContext":"","currentContext":null}`,
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, text)
		was, err := Current(path)
		if err != nil || was.Name != "" {
			t.Fatalf("Current of %q = %+v, %v", text, was, err)
		}
		for _, next := range []Value{{Name: "rd"}, {Name: "rd-b"}, was} {
			if _, err := Update(t.Context(), path, func(Value) (Value, bool) { return next, true }); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		want := text
		if text == "" {
			want = "{}" // an object stays, see the package
		}
		if err != nil || string(got) != want {
			t.Errorf("%q became %q (%v)", text, got, err)
		}
	}
}

// The place of credentials that docker can't decode is told.
func TestBadCredentials(t *testing.T) {
	for auth, what := range map[string]string{
		`"auth": "!"`: "illegal base64", `"auth": "YQ=="`: "invalid auth configuration file",
	} {
		path := filepath.Join(t.TempDir(), "config.json")
		write(t, path, "{\n\t\"auths\": {\n\t\t\"good\": {\"auth\": \"YTpi\"},\n\t\t\"bad.example\": {"+auth+"}\n\t}\n}\n")
		found := Check(path)
		if len(found) == 0 || found[0].Reason != WrongType || found[0].Line != 4 || found[0].Column != 18 ||
			!strings.Contains(found[0].Detail, what) || !strings.Contains(found[0].Detail, `"bad.example"`) {
			t.Errorf("%s: %+v", auth, found)
		}
	}
}
