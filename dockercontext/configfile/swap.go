package configfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker-rd/docker-rd/internal/files"
)

// Variables for tests.
var (
	// fault is called between any two system calls of a write: to write as somebody else would,
	// or to die.
	fault = func(point string) {}
	// exchangeFiles fails as on a system that can't exchange, lease as on one without leases.
	exchangeFiles = exchange
	lease         = takeLease
)

// An ownFile is a new file that we made. While it is leased, whoever opens it waits.
type ownFile struct {
	name string
	f    *os.File // open only while leased
	placed
}

// placed identifies a file after it was exchanged.
type placed struct {
	info fs.FileInfo
	data []byte
}

// is reports whether the file at name is p, without opening a leased one.
func (p placed) is(name string) (bool, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return false, err
	}
	if inodesFollowNames {
		return os.SameFile(info, p.info), nil
	}
	data, err := os.ReadFile(name)
	return err == nil && bytes.Equal(data, p.data), err
}

// A swap replaces one file so that no write of others is lost: each new file is
// exchanged with the one in place, and what comes out is looked at.
type swap struct {
	target  string
	journal *journal
	next    int // number of the next new file
	files   []*ownFile
	final   []byte // what target holds in the end, once a first try was superseded
	stuck   bool   // a file of somebody else is still under a name of ours
}

func newSwap(target string, j *journal) *swap {
	return &swap{target: target, journal: j, next: len(j.entries) + 1}
}

// prepare makes the next new file: data, with the metadata of the file at path, which
// was like. It is safe on the disk before anything is exchanged.
func (s *swap) prepare(data []byte, path string, like version) (*ownFile, error) {
	name := tempName(s.target, s.next)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	s.next++
	own := &ownFile{name: name, f: f, placed: placed{data: data}}
	s.files = append(s.files, own)
	fault("created")
	// Leased before the owner is changed: only the owner may.
	leased := lease(f) == nil
	if _, err = f.Write(data); err == nil {
		fault("written")
		err = copyMeta(f, path, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		own.info, err = f.Stat()
	}
	if !leased || err != nil {
		own.close() // Windows exchanges closed files only
	}
	if err != nil {
		return nil, err
	}
	fault("prepared")
	return own, nil
}

func (o *ownFile) close() {
	if o.f != nil {
		_ = endLease(o.f)
		_ = o.f.Close()
		o.f = nil
	}
}

// put makes after, which is before with our change, the content of the target.
// again says that somebody else was faster and all starts over; nothing has changed
// then. Otherwise rebase is asked for the change to what others have written.
//
// With insist it goes ahead all the same, if the file is leased: beside writers that
// never rest, the file would never be found unchanged.
func (s *swap) put(before version, after []byte, insist bool, rebase func(version) []byte) (again bool, err error) {
	own, err := s.prepare(after, s.target, before)
	if err != nil {
		return false, err
	}
	if err := s.journal.add(entry{Ours: sum(after), Expected: sum(before.data)}); err != nil {
		return false, err
	}
	fault("recorded")
	now, err := readSettled(s.target)
	if err != nil || now.exists != before.exists {
		return true, nil // the next look says what is wrong
	}
	if !now.same(before) && !(insist && own.f != nil) {
		return true, nil
	}
	fault("compared")
	if !before.exists {
		err := files.RenameNew(own.name, s.target)
		fault("made")
		return errors.Is(err, fs.ErrExist), ignore(err, fs.ErrExist)
	}

	err = exchangeFiles(own.name, s.target)
	switch {
	case errors.Is(err, files.ErrNoExchange):
		// A rename must do: what somebody writes between the comparison and it is lost.
		err := os.Rename(own.name, s.target)
		fault("renamed")
		return false, err
	case errors.Is(err, fs.ErrNotExist):
		return true, nil // removed by somebody
	case err != nil:
		return false, err
	}
	fault("exchanged")
	displaced, err := readSettled(own.name)
	if err == nil && displaced.same(before) {
		return false, nil
	}
	if err != nil || own.f == nil {
		// Not a file that we can carry on, or nobody waits for us: without leases
		// every moment counts in which others can build on ours.
		return true, s.putBack(own.name, own.placed)
	}
	return s.settle(own.name, displaced, own.placed, rebase)
}

// settle brings together the change and what others have written. An exchange has put
// our file last in place and displaced found, at name, which is not what was expected. So
// the change is made again on found, and the result exchanged for last, until what is
// displaced is our own file. Whoever opens the file meanwhile waits on a lease, so that
// nobody builds on a version that lacks somebody's write.
//
// again says that the change could not be made, and that their version is in place.
func (s *swap) settle(name string, found version, last placed, rebase func(version) []byte) (again bool, err error) {
	for {
		data := rebase(found)
		own, err := s.prepare(data, name, found)
		if err == nil {
			err = s.journal.add(entry{Ours: sum(data), Expected: sum(last.data)})
		}
		made := false
		if err == nil {
			fault("rebased")
			made, err = s.exchangeOrMake(own.name)
		}
		if made {
			s.final = data
			return false, nil
		}
		if err != nil {
			return false, errors.Join(err, s.putBack(name, last))
		}
		fault("exchanged again")
		same, err := last.is(own.name)
		if err == nil && same {
			s.final = data
			return false, nil
		}
		name, last = own.name, own.placed
		if err == nil {
			found, err = readSettled(name)
		}
		if err != nil {
			return true, s.putBack(name, last)
		}
	}
}

// exchangeOrMake exchanges the file at name with the target. Where somebody has
// removed that, it is made again: that program had not seen what we hold.
func (s *swap) exchangeOrMake(name string) (made bool, err error) {
	for {
		err := exchangeFiles(name, s.target)
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err = files.RenameNew(name, s.target); !errors.Is(err, fs.ErrExist) {
			return err == nil, err
		}
	}
}

// putBack returns the file at name, somebody else's, to the target, where last is
// ours. If that displaces a newer one, that one goes back in turn.
func (s *swap) putBack(name string, last placed) error {
	s.stuck = true
	for {
		moving, err := identify(name)
		if err != nil {
			return err
		}
		made, err := s.exchangeOrMake(name)
		if err != nil {
			return err
		}
		fault("put back")
		ours := made
		if !made {
			if ours, err = last.is(name); err != nil {
				return err
			}
		}
		if ours {
			s.stuck = false
			if v, err := readVersion(s.target); err == nil && v.exists {
				s.final = v.data
			}
			return nil
		}
		last = moving
	}
}

func identify(name string) (placed, error) {
	info, err := os.Lstat(name)
	if err != nil || inodesFollowNames {
		return placed{info: info}, err
	}
	data, err := os.ReadFile(name)
	return placed{info: info, data: data}, err
}

// release ends the leases. Before that, the superseded files get the final content: a
// program that waits on a lease has already resolved the path to one of them.
func (s *swap) release() error {
	var err error
	if s.final != nil && !s.stuck {
		// From here on the files are no longer what the records say.
		if err = s.journal.write(entry{Done: true}); err == nil {
			for _, own := range s.files {
				err = errors.Join(err, own.rewrite(s.final))
			}
		}
		fault("superseded")
	}
	for _, own := range s.files {
		own.close()
	}
	fault("released")
	return err
}

// finish releases the files, and removes what is under our names, unless it is still
// needed: then the journal stays for the next one who comes.
func (s *swap) finish() error {
	err := s.release()
	if s.stuck || s.halfDone() {
		s.journal.leave()
		return err
	}
	for i := len(s.files) - 1; i >= 0; i-- {
		if removed := ignore(files.Remove(s.files[i].name), fs.ErrNotExist); removed != nil {
			s.journal.leave()
			return errors.Join(err, removed)
		}
		fault("removed")
	}
	err = errors.Join(err, s.journal.remove())
	fault("journal removed")
	_ = files.SyncDir(filepath.Dir(s.target)) // where that can't be done, nothing is to be done about it
	return err
}

// halfDone reports whether an exchange of two steps failed between them.
func (s *swap) halfDone() bool {
	return slices.ContainsFunc(s.files, func(own *ownFile) bool {
		_, err := os.Lstat(own.name + backupSuffix)
		return err == nil
	})
}

// rewrite replaces the content of a superseded file that is still leased. Only those see it
// who opened the file before it was superseded, and have waited on the lease since.
func (o *ownFile) rewrite(data []byte) error {
	if o.f == nil || bytes.Equal(o.data, data) {
		return nil
	}
	if _, err := o.f.WriteAt(data, 0); err != nil {
		return err
	}
	return o.f.Truncate(int64(len(data)))
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}
