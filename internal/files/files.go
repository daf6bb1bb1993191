// Package files opens and replaces files that several processes use.
//
// A file is replaced as a whole: a reader sees one version or the next. On Windows a file
// that is open can be replaced or removed only if it was opened with permission for that, which
// package os does not give, and a directory only while nobody has it open without that: code that
// opens, replaces or removes files that others use does so through this package. It waits, up to a
// second, for programs that have opened them otherwise.
package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Open opens the file at path for reading. It can be replaced and removed meanwhile. The
// caller closes it.
func Open(path string) (*os.File, error) { return OpenFile(path, os.O_RDONLY) }

// OpenFile is [os.OpenFile] for a file that can be replaced and removed while it is open; one that
// it makes has mode 0600. Of the flags there are only those for reading, writing and appending,
// [os.O_CREATE] and [os.O_TRUNC]. The caller closes the file.
func OpenFile(path string, flag int) (*os.File, error) { return openFile(path, flag) }

// Exists reports whether there is anything at path that can be looked at. Links are not followed.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Read returns the content of the file at path, which can be replaced meanwhile.
func Read(path string) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// Replace gives the file at path new content, or makes it with mode 0600, and is seen by
// readers at one moment. After a crash of the machine either content, or none, may be
// there. The new content is written to path with the suffix [TempSuffix] first, so writers
// of one file must exclude each other.
func Replace(path string, data []byte) error { return replace(path, data, false) }

// ReplaceSynced is [Replace] that returns when the content is on the disk: after a crash
// of the machine the old or the new content is there, and after it has returned, the new.
func ReplaceSynced(path string, data []byte) error { return replace(path, data, true) }

// ReplaceJSON is [Replace] with v as indented JSON.
func ReplaceJSON(path string, v any) error { return replaceJSON(path, v, false) }

// ReplaceJSONSynced is [ReplaceSynced] with v as indented JSON.
func ReplaceJSONSynced(path string, v any) error { return replaceJSON(path, v, true) }

func replaceJSON(path string, v any, synced bool) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %q: %w", path, err)
	}
	return replace(path, append(data, '\n'), synced)
}

// ReadJSON decodes the content of the file at path, as of [Read], into v. The error is a
// [*fs.PathError] if the file can't be read, else the decoder's, which does not name the file.
func ReadJSON(path string, v any) error {
	data, err := Read(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// TempSuffix is what follows a file's name in that of its next version, which a writer
// that is killed leaves, and the next one overwrites.
const TempSuffix = ".new"

func replace(path string, data []byte, synced bool) error {
	temp := path + TempSuffix
	if err := write(temp, data, synced); err != nil {
		return errors.Join(err, removeTemp(temp))
	}
	if err := Rename(temp, path); err != nil {
		return errors.Join(err, removeTemp(temp))
	}
	if synced {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// IsNotEmpty reports whether the error says that a directory is not empty.
func IsNotEmpty(err error) bool { return errors.Is(err, errNotEmpty) }

func removeTemp(path string) error {
	if err := Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func write(path string, data []byte, synced bool) error {
	file, err := OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil && synced {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Remove is [os.Remove]; a file that is open, and was opened through this package, is gone
// from its directory at once.
func Remove(path string) error { return remove(path) }

// Gone reports whether file is not the one at path any more: it was removed or replaced.
func Gone(file fs.FileInfo, path string) (bool, error) {
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(file, now), err
}

// RemoveAll is [os.RemoveAll], with the same promise for the files in it.
func RemoveAll(path string) error { return removeAll(path) }

// Rename gives a file another name in its directory, and replaces a file of that name.
func Rename(from, to string) error {
	if filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("rename %q to %q: the directory is another one", from, to)
	}
	return rename(from, to)
}

// Supersede is [Rename] for a large file whose next version comes soon. When the content is
// written to the disk is left to the system: after a crash of the machine either version, or
// none, may be there.
func Supersede(from, to string) error {
	// When a file is renamed onto another, ext4 writes its content to the disk at once. When the
	// two are exchanged and the old one is removed, most versions are never written there.
	if info, err := os.Lstat(to); err == nil && info.Mode().IsRegular() && Exchange(from, to) == nil {
		return Remove(from)
	}
	return Rename(from, to)
}
