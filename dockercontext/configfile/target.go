package configfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/docker-rd/docker-rd/internal/mounts"
)

// patience is how long a program that has the file open for writing is waited for.
const patience = time.Second

// maxLinks is how many symbolic links a path may take, as on Linux (path_resolution(7)).
const maxLinks = 40

// resolve follows the symbolic links of path, relative, absolute and chained, to the
// file they mean, whether it exists or not. The kernel's way is followed: a link is
// relative to the real directory it is in, and ".." is not taken away from the text.
func resolve(path string) (string, error) {
	given := path
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range maxLinks {
		dir, base := filepath.Split(path)
		real, err := filepath.EvalSymlinks(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return filepath.Clean(path), nil // it will be made, with its directory
		}
		if err != nil {
			return "", unreadable(given, err)
		}
		path = filepath.Join(real, base)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil {
			return "", unreadable(given, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", unreadable(given, err)
		}
		path = link
		if !filepath.IsAbs(link) {
			path = real + string(filepath.Separator) + link
		}
	}
	return "", refuse(&RefusedError{Path: given, Reason: NotRegular, Detail: "is a circle of symbolic links"})
}

func unreadable(path string, err error) error {
	return refuse(&RefusedError{Path: path, Reason: Unreadable, Detail: "can't be read", Err: err})
}

// A version is what a file was at one moment; the zero value is a missing file.
type version struct {
	exists bool
	data   []byte
	info   fs.FileInfo
}

// same reports whether nothing that is kept has changed between two versions. It does not
// ask for the same file: docker's writers make a new one each time.
func (v version) same(other version) bool {
	return v.exists == other.exists && bytes.Equal(v.data, other.data) &&
		(!v.exists || sameMeta(v.info, other.info))
}

// readVersion reads the file at path, which is not a link. Do not use it on a file of
// our own while that is leased: it would wait for itself.
func readVersion(path string) (version, error) {
	return readVersionWith(path, func(*os.File) {})
}

// readSettled is readVersion after whoever has the file open for writing has closed
// it, as far as the system shows that, and no longer than patience.
func readSettled(path string) (version, error) {
	return readVersionWith(path, func(f *os.File) {
		for end := time.Now().Add(patience); beingWritten(f) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	})
}

func readVersionWith(path string, settle func(*os.File)) (version, error) {
	// Opening a pipe would wait for its other end: so look first.
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return version{}, nil
	}
	if err != nil {
		return version{}, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return version{}, notRegular(path, info)
	}
	// No link is followed that was put there since: root must not read through one.
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return version{}, nil // gone in between
	}
	if err != nil {
		return version{}, unreadable(path, err)
	}
	defer f.Close()
	settle(f)
	if info, err = f.Stat(); err != nil {
		return version{}, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return version{}, notRegular(path, info)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return version{}, unreadable(path, err)
	}
	return version{exists: true, data: data, info: info}, nil
}

func notRegular(path string, info fs.FileInfo) error {
	what := "is not a regular file"
	if info.IsDir() {
		what = "is a directory"
	}
	return refuse(&RefusedError{Path: path, Reason: NotRegular, Detail: what})
}

// editable refuses what could not be replaced without changing more than its bytes.
// A read-only mode is a wish, so it counts for root too.
func editable(target string, v version) error {
	if v.exists {
		if linkCount(target, v.info) > 1 {
			return refuse(&RefusedError{Path: target, Reason: HardLink, Detail: "is a hard link"})
		}
		if points, err := mounts.Below(target); err == nil && len(points) > 0 {
			return refuse(&RefusedError{Path: target, Reason: BindMount, Detail: "is a mount point"})
		}
		if !canKeepOwner(v.info) {
			return refuse(&RefusedError{Path: target, Reason: Owner, Detail: "belongs to another user, and would change hands"})
		}
		if err := writable(target, v.info); err != nil {
			return refuse(&RefusedError{Path: target, Reason: ReadOnly, Detail: "is read-only", Err: err})
		}
	}
	dir := filepath.Dir(target)
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && !v.exists {
		return nil // it will be made
	}
	if err == nil {
		err = writable(dir, info)
	}
	if err != nil {
		return refuse(&RefusedError{Path: target, Reason: ReadOnly, Detail: "its directory is read-only", Err: err})
	}
	return nil
}
