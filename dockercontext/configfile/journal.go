package configfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker-rd/docker-rd/internal/files"
	"github.com/docker-rd/docker-rd/lock"
)

// suffix ends the name of the journal, and is followed by a number in those of the
// new files. They are hidden and beside the file: only there can they be exchanged.
const suffix = ".docker-rd"

// backupSuffix is where an exchange of two steps keeps the old file between them.
const backupSuffix = ".old"

// journalRetry is how often one who waits for another writer of ours looks again.
const journalRetry = 5 * time.Millisecond

var (
	// errHeld says that the journal belongs to a process that lives.
	errHeld = errors.New("journal is held")
	// errNoExchange says that the file system can't exchange two files.
	errNoExchange = files.ErrNoExchange
)

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
	for {
		f, err := openLocked(name, true)
		switch {
		case errors.Is(err, errHeld):
			select {
			case <-ctx.Done():
				return nil, &lock.HeldError{Path: name, Err: ctx.Err()}
			case <-time.After(journalRetry):
			}
			continue
		case err != nil:
			return nil, err
		}
		there, err := inPlace(f, name)
		if there {
			j := &journal{f: f, target: target}
			if err = j.read(); err == nil {
				return j, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// inPlace reports whether a journal that was locked is still there. Its owner removes it in
// the end: what is locked may be nobody's any more.
func inPlace(f *os.File, name string) (bool, error) {
	locked, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(name)
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	return os.SameFile(locked, there), nil
}

// interrupted reports whether target has a journal whose process has ended.
func interrupted(target string) bool {
	name := journalName(target)
	f, err := openLocked(name, false)
	if err != nil {
		return !errors.Is(err, errHeld) && !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	there, err := inPlace(f, name)
	return there || err != nil
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
	err := os.Remove(j.f.Name())
	return errors.Join(err, j.f.Close())
}

// leave ends only our hold on it.
func (j *journal) leave() { _ = j.f.Close() }

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
