package configfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// suffix ends the name of the journal, and is followed by a number in those of the
// new files. They are hidden and beside the file: only there can they be exchanged.
const suffix = ".docker-rd"

// backupSuffix is where an exchange of two steps keeps the old file between them.
const backupSuffix = ".old"

// An entry is made before an exchange, so that the next process knows what it finds
// if this one is killed. Contents are known by their SHA-256: they hold secrets.
type entry struct {
	Ours     string `json:"ours,omitempty"`     // what the new file holds
	Expected string `json:"expected,omitempty"` // what it should displace
	Done     bool   `json:"done,omitempty"`     // all is in its place, the rest is litter
}

// A journal exists while the file is being written, and after a kill until somebody
// has tidied up. Its lock distinguishes the two, and keeps writers of ours apart whose
// callers have different locks because they come through different links.
type journal struct {
	f       *os.File
	target  string
	entries []entry
}

func journalName(target string) string {
	dir, base := filepath.Split(target)
	return dir + "." + base + suffix
}

// tempName is the name of the new file of the n-th exchange, counted from 1.
func tempName(target string, n int) string {
	return fmt.Sprintf("%s.%d", journalName(target), n)
}

// tempNames are the new files and backups that exist.
func tempNames(target string) ([]string, error) {
	dir := filepath.Dir(target)
	prefix := filepath.Base(journalName(target)) + "."
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			names = append(names, filepath.Join(dir, entry.Name()))
		}
	}
	return names, nil
}

// openJournal locks the journal of target and makes it where there is none. While
// another process writes it waits, until ctx ends: then the error is a
// *[lock.HeldError].
func openJournal(ctx context.Context, target string) (*journal, error) {
	name := journalName(target)
	f, err := lock.AcquireFile(ctx, name, func() (*os.File, error) { return openOwn(name) })
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, target: target}
	if err := j.read(); err != nil {
		j.leave()
		return nil, err
	}
	return j, nil
}

// interrupted reports whether target has a journal whose process has ended.
func interrupted(target string) bool {
	name := journalName(target)
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return !errors.Is(err, fs.ErrNotExist)
	}
	gone := lock.Gone(name)
	held, _ := lock.Held(name)
	return !held && !gone()
}

func (j *journal) read() error {
	data, err := io.ReadAll(j.f)
	if err != nil {
		return err
	}
	// A line that was cut off was not followed by an exchange.
	for line := range bytes.Lines(data) {
		var e entry
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &e) != nil {
			break
		}
		j.entries = append(j.entries, e)
	}
	return nil
}

// add writes an entry so that it is there even after a power failure.
func (j *journal) add(e entry) error {
	if err := j.write(e); err != nil {
		return err
	}
	return j.f.Sync()
}

func (j *journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		return err
	}
	j.entries = append(j.entries, e)
	return nil
}

// remove ends the journal; everything it speaks of must be gone.
func (j *journal) remove() error {
	err := files.Remove(journalName(j.target))
	return errors.Join(err, j.f.Close())
}

// leave ends only our hold on it.
func (j *journal) leave() { _ = j.f.Close() }

func sum(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }
