package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker-rd/docker-rd/internal/test/wine"
)

// Readers see one version or the next, however often the file is replaced.
func TestReplaceBesideReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	version := func(i int) []byte { return []byte(strings.Repeat(string(rune('a'+i%26)), 10_000)) }
	if err := Replace(path, version(0)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				data, err := Read(path)
				if err != nil {
					t.Error(err)
					return
				}
				if len(data) != 10_000 || strings.Trim(string(data), string(data[:1])) != "" {
					t.Errorf("a torn version of %d bytes", len(data))
					return
				}
				if wine.Is() {
					time.Sleep(10 * time.Millisecond) // or the file is always open, and wine never replaces it
				}
			}
		})
	}
	for i := range 300 {
		replace := Replace
		if i%100 == 0 {
			replace = ReplaceSynced
		}
		if err := replace(path, version(i)); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	readers.Wait()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory there is %v, %v", entries, err)
	}
}

// A file that is open can be replaced and removed; its reader keeps what it has opened.
func TestReplaceWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Replace(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	old, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := Replace(path, []byte("two")); wine.Is() {
		if data, read := Read(path); err == nil || read != nil || string(data) != "one" {
			t.Errorf("wine does not replace an open file: %v, %q, %v", err, data, read)
		}
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if data, err := Read(path); err != nil || string(data) != "two" {
		t.Errorf("the new version is %q, %v", data, err)
	}
	if data, err := io.ReadAll(old); err != nil || string(data) != "one" {
		t.Errorf("the reader of the old version got %q, %v", data, err)
	}
	now, err := OpenFile(path, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if err := Remove(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed is there: %v", err)
	}
	if err := RemoveAll(filepath.Dir(path)); err != nil {
		t.Errorf("the directory: %v", err)
	}
	if err := RemoveAll(path); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

// Readers, of a file that exists or not, never keep others from removing its directory.
func TestRemoveBesideReaders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "file"), nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		begun := make(chan struct{})
		readers.Go(func() {
			for ready := sync.OnceFunc(func() { close(begun) }); ; ready() {
				select {
				case <-done:
					return
				default:
				}
				if _, err := Read(filepath.Join(dir, "file")); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
			}
		})
		<-begun
	}
	if err := Remove(filepath.Join(dir, "file")); err != nil {
		t.Error(err)
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	close(done)
	readers.Wait()
}

// A failure leaves the old version and nothing else.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.MkdirAll(filepath.Join(path, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceSynced(path, []byte("x")); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("in place of a directory: %v", err)
	}
	if _, err := os.Lstat(path + TempSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was to take its place is there: %v", err)
	}
	missing := filepath.Join(dir, "missing", "file")
	if err := Replace(missing, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Dir(missing)) {
		t.Errorf("in a missing directory: %v", err)
	}
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Dir(missing)) {
		t.Errorf("open in a missing directory: %v", err)
	}
	if err := Rename(path, filepath.Join(t.TempDir(), "file")); err == nil {
		t.Error("renamed into another directory")
	}
}

// The older version is gone, and what is no file is not touched.
func TestSupersede(t *testing.T) {
	dir := t.TempDir()
	path, next := filepath.Join(dir, "file"), filepath.Join(dir, "next")
	for _, version := range []string{"one", "two", "three"} {
		if err := os.WriteFile(next, []byte(version), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Supersede(next, path); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(path); err != nil || string(data) != version {
			t.Errorf("there is %q, %v, not %q", data, err, version)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("in the directory there is %v, %v", entries, err)
		}
	}
	below := filepath.Join(dir, "dir", "below")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Supersede(path, filepath.Dir(below)); err == nil {
		t.Error("in the place of a directory")
	}
	if _, err := os.Lstat(below); err != nil {
		t.Error(err)
	}
	if data, err := Read(path); err != nil || string(data) != "three" {
		t.Errorf("after a failure there is %q, %v", data, err)
	}
}
