package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A file is the state file on disk. It is replaced, never written into.
type file struct {
	path    string
	written os.FileInfo // as last written or taken over; nil for neither
	stale   bool        // [state.StaleMark] exists, or may exist
	buffer  *bufio.Writer
}

func newFile(path string) *file {
	const chunk = 256 << 10 // the whole state is never in memory a second time
	return &file{path: path, stale: true, buffer: bufio.NewWriterSize(nil, chunk)}
}

// replace replaces the file by the output of write. After an error the file is as it was, and
// marked as stale.
func (f *file) replace(write func(*bufio.Writer) error) error {
	next := filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+".tmp")
	info, err := f.writeTo(next, write)
	if err == nil {
		err = files.Supersede(next, f.path)
	}
	if err != nil {
		_ = files.Remove(next)
		f.mark()
		return err
	}
	f.written = info
	f.unmark()
	return nil
}

// writeTo writes a file, and returns what it is then.
func (f *file) writeTo(path string, write func(*bufio.Writer) error) (os.FileInfo, error) {
	file, err := files.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return nil, err
	}
	f.buffer.Reset(file)
	err = errors.Join(write(f.buffer), f.buffer.Flush())
	info, statErr := file.Stat()
	return info, errors.Join(err, statErr, file.Close())
}

// mark notes beside the file that it could not be written. Most full disks have room for an
// empty file.
func (f *file) mark() {
	if mark, err := files.OpenFile(state.StaleMark(f.path), os.O_CREATE|os.O_WRONLY); err == nil {
		_ = mark.Close()
		f.stale = true
	}
}

func (f *file) unmark() {
	if !f.stale {
		return
	}
	if err := files.Remove(state.StaleMark(f.path)); err == nil || errors.Is(err, fs.ErrNotExist) {
		f.stale = false
	}
}

// takeOver notes that the file's content is known.
func (f *file) takeOver() {
	f.written, _ = os.Lstat(f.path)
}

// intact reports whether the file is what was written last.
func (f *file) intact() bool {
	info, err := os.Lstat(f.path)
	return err == nil && f.written != nil && os.SameFile(info, f.written) &&
		info.Size() == f.written.Size() && info.ModTime().Equal(f.written.ModTime())
}

func (f *file) setAside() error {
	old := f.path + ".old"
	_ = files.Remove(old) // a file is not replaced by a directory
	if err := files.Rename(f.path, old); err != nil {
		return fmt.Errorf("keep old state file: %w", err)
	}
	return nil
}

var revisionField = regexp.MustCompile(`"revision"\s*:\s*(\d+)`)

// lastRevision returns the highest revision found in the file and the one set aside, however
// damaged they are, or 0.
func (f *file) lastRevision() (revision uint64) {
	for _, path := range []string{f.path, f.path + ".old"} {
		file, err := files.Open(path)
		if err != nil {
			continue
		}
		start, _ := io.ReadAll(io.LimitReader(file, 4096))
		_ = file.Close()
		if m := revisionField.FindSubmatch(start); m != nil {
			if r, err := strconv.ParseUint(string(m[1]), 10, 63); err == nil {
				revision = max(revision, r)
			}
		}
	}
	return revision
}
