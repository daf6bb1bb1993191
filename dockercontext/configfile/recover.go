package configfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/docker-rd/docker-rd/internal/files"
)

// rescuedSuffix ends the name of a version that could not be put back.
const rescuedSuffix = ".docker-rd-rescued"

// Recover finishes what a process left that was killed while it changed the file at path. If
// somebody else's write had been displaced, it is put back as it was; the change itself is undone
// then, and the caller decides again. If a third write has come on top meanwhile that lacks
// something of the displaced one, that is kept beside the file, where [Check] finds it (see
// Rescued). With nothing to do it costs one stat. Ctx bounds the wait for another process that
// changes the file.
func Recover(ctx context.Context, path string) error {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	return recoverTarget(ctx, target)
}

func recoverTarget(ctx context.Context, target string) error {
	if _, err := os.Lstat(journalName(target)); err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	j, err := openJournal(ctx, target)
	if err != nil {
		return cannotWrite(target, "what an interrupted change left can't be tidied up", err)
	}
	return cannotWrite(target, "what an interrupted change left can't be tidied up", j.recover())
}

// recover ends the journal.
func (j *journal) recover() error {
	if err := j.restore(); err != nil {
		j.leave()
		return err
	}
	names, err := tempNames(j.target)
	for _, name := range names {
		err = errors.Join(err, ignore(files.Remove(name), fs.ErrNotExist))
		fault("recovered")
	}
	if err != nil {
		j.leave()
		return err
	}
	return j.remove()
}

// restore leaves nothing under our names that is not ours or known to be superseded.
func (j *journal) restore() error {
	names, err := tempNames(j.target)
	if err != nil {
		return err
	}
	for _, name := range names {
		if first, ok := strings.CutSuffix(name, backupSuffix); ok {
			if err := j.endExchange(name, first); err != nil {
				return err
			}
		}
	}
	if n := len(j.entries); n == 0 || j.entries[n-1].Done {
		return nil
	}
	for n := len(j.entries); n > 0; n-- {
		e := j.entries[n-1]
		name := tempName(j.target, n)
		v, err := readVersion(name)
		if err != nil {
			// A directory or a link, put there by somebody at the wrong moment.
			return j.rescue(name)
		}
		switch {
		case !v.exists:
			return nil // being removed, so all was in its place
		case sum(v.data) == e.Ours:
			continue // not exchanged: then the one before matters
		case sum(v.data) == e.Expected:
			return nil // exchanged, and nobody else had written
		default:
			return j.restoreDisplaced(name, v, e)
		}
	}
	return nil
}

// endExchange deals with what an exchange of two steps has left at backup when it was cut
// in the middle: then it belongs at name, or where it comes from if nothing has taken its
// place.
func (j *journal) endExchange(backup, name string) error {
	err := files.RenameNew(backup, j.target)
	if errors.Is(err, fs.ErrExist) {
		err = files.RenameNew(backup, name)
	}
	if errors.Is(err, fs.ErrExist) {
		err = j.rescue(backup) // somebody else's is in its place
	}
	return err
}

// restoreDisplaced deals with displaced, at name, which e did not expect: somebody
// else's write that our file has taken the place of.
func (j *journal) restoreDisplaced(name string, displaced version, e entry) error {
	now, err := readVersion(j.target)
	if err != nil {
		return j.rescue(name)
	}
	if !now.exists {
		return files.RenameNew(name, j.target)
	}
	if sum(now.data) != e.Ours {
		if covers(now.data, displaced.data) {
			return nil
		}
		return j.rescue(name)
	}
	// New files that were not exchanged would be in the way.
	names, err := tempNames(j.target)
	for _, other := range names {
		if other != name {
			err = errors.Join(err, files.Remove(other))
		}
	}
	if err != nil {
		return err
	}
	s := newSwap(j.target, j)
	last := placed{info: now.info, data: now.data}
	_, err = s.settle(name, displaced, last, func(v version) []byte { return v.data })
	return errors.Join(err, s.release())
}

func (j *journal) rescue(name string) error {
	for n := 1; ; n++ {
		to := j.target + rescuedSuffix
		if n > 1 {
			to = fmt.Sprintf("%s-%d", to, n)
		}
		err := files.RenameNew(name, to)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		return err
	}
}
