package logfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write := func() {
		t.Helper()
		file, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString("x"); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	size := func(path string) int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	write()
	write()
	if got := size(path); got != 2 {
		t.Errorf("%d bytes, want both", got)
	}
	if _, err := os.Stat(path + ".1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a small log is put aside: %v", err)
	}
	for range 2 { // the second time there is one aside already
		if err := os.Truncate(path, Max); err != nil {
			t.Fatal(err)
		}
		write()
		if now, aside := size(path), size(path+".1"); now != 1 || aside != Max {
			t.Errorf("%d bytes and %d aside, want 1 and %d", now, aside, Max)
		}
	}
}
