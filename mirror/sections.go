package mirror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// The file is written in sections: the head, so many objects each, and the end. Behind
// each but the end there is some room, filled with spaces, which JSON allows between any
// two values. So a change leaves all other sections where they are. A file that was
// written before and is free again only needs those written that have changed since.

const (
	// sectionSize is about how long a section of objects is.
	sectionSize = 32 << 10
	// roomShare is the part of a section that is left free, one in so many, beside
	// minRoom.
	roomShare = 16
	minRoom   = 128
)

// A section is a part of the file that is written as one.
type section struct {
	first    string // the key of its first object; the first section also takes what is less
	changed  uint64 // the revision that it last changed in
	at, room int    // where it is in the file, and how long at most
}

// sections are those of a kind, by key.
type sections []section

// mark notes that the object of the key came, went or changed.
func (s sections) mark(key string, revision uint64) {
	i, found := slices.BinarySearchFunc(s, key, func(s section, key string) int { return cmp.Compare(s.first, key) })
	if !found {
		i = max(i-1, 0)
	}
	if len(s) > 0 { // else the kind is to be divided anew anyway
		s[i].changed = revision
	}
}

// A layout is where everything is in a file.
type layout struct {
	head  section
	begin map[state.Kind]int // where the kind begins
	end   int                // where the end begins
}

// A version is a file that was written.
type version struct {
	info     os.FileInfo
	layout   *layout // the one that it has
	revision uint64
}

// is tells whether a file is as this version was written.
func (v *version) is(info os.FileInfo) bool {
	return v != nil && os.SameFile(info, v.info) && info.Size() == v.info.Size() && info.ModTime().Equal(v.info.ModTime())
}

// encode writes the state: what has changed since the version old, or all where the
// file is none or has another layout.
func (s *Store) encode(file *os.File, h head, old *version) error {
	since := uint64(0)
	if old != nil && old.layout == s.layout {
		since = old.revision
	}
	begin, err := s.encodeHead(h)
	if err != nil {
		return err
	}
	if s.layout != nil {
		if err := s.fill(file, begin, since); !errors.Is(err, errOutgrown) {
			return err
		}
	}
	s.layout = s.arrange(begin)
	return s.fill(file, begin, 0)
}

// arrange divides the state into sections.
func (s *Store) arrange(begin []byte) *layout {
	l := &layout{begin: map[state.Kind]int{}}
	pos := 0
	place := func(sec *section, size int) {
		sec.at, sec.room = pos, size+size/roomShare+minRoom
		pos += sec.room
	}
	place(&l.head, len(begin))
	for _, kind := range state.Kinds() {
		l.begin[kind] = pos
		pos += len(opening(kind))
		t := s.tables[kind]
		t.divide()
		parts := t.sections()
		for n := range parts {
			place(&parts[n], t.length(n))
		}
		pos += len(closing)
	}
	l.end = pos
	return l
}

// opening and closing are around the objects of a kind.
func opening(kind state.Kind) string { return fmt.Sprintf(",\n%q:{", string(kind)) }

const closing = "}"

// errOutgrown says that a section is too long for its room, or empty.
var errOutgrown = errors.New("the state has outgrown its sections")

// fill writes the sections that have changed since the revision, or all for 0.
func (s *Store) fill(file *os.File, begin []byte, since uint64) error {
	l, whole := s.layout, since == 0
	if len(begin) > l.head.room {
		return errOutgrown
	}
	w := patcher{file: file}
	w.text = append(w.text, begin...)
	w.pad(l.head)
	for _, kind := range state.Kinds() {
		t := s.tables[kind]
		parts := t.sections()
		if (len(parts) == 0) != (t.size() == 0) {
			return errOutgrown
		}
		if whole {
			w.seek(l.begin[kind])
			w.text = append(w.text, opening(kind)...)
		}
		for n, sec := range parts {
			if !whole && sec.changed <= since {
				continue
			}
			if size := t.length(n); size == 0 || size > sec.room {
				return errOutgrown
			}
			w.seek(sec.at)
			w.text = t.section(w.text, n)
			w.pad(sec)
		}
		if whole {
			w.text = append(w.text, closing...)
		}
	}
	if !whole && s.buried <= since {
		return w.flush()
	}
	end, err := s.encodeEnd()
	if err != nil {
		return err
	}
	w.seek(l.end)
	w.text = append(w.text, end...)
	if err := w.flush(); err != nil {
		return err
	}
	return file.Truncate(int64(l.end + len(end))) // it may have been longer
}

// A patcher writes texts to places of a file, as many at once as are next to each other.
type patcher struct {
	file *os.File
	at   int    // where the text belongs
	text []byte // what is not written yet
	err  error
}

// seek has what is appended to the text be written at the place.
func (p *patcher) seek(at int) {
	if at != p.at+len(p.text) || len(p.text) >= writeChunk {
		_ = p.flush()
		p.at = at
	}
}

// pad fills the room of the section that was appended.
func (p *patcher) pad(sec section) {
	for n := sec.at + sec.room - p.at - len(p.text); n > 0; {
		spaces := spaces[:min(n, len(spaces))]
		p.text = append(p.text, spaces...)
		n -= len(spaces)
	}
}

var spaces = bytes.Repeat([]byte{' '}, sectionSize/roomShare)

// flush writes what is not written yet, and returns the first error there was.
func (p *patcher) flush() error {
	if p.err == nil && len(p.text) > 0 {
		_, p.err = p.file.WriteAt(p.text, int64(p.at))
	}
	p.at, p.text = p.at+len(p.text), p.text[:0]
	return p.err
}

// encodeHead encodes what comes before the objects, without the closing brace.
func (s *Store) encodeHead(h head) ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return text[:len(text)-1], nil
}

// encodeEnd encodes what comes after the objects.
func (s *Store) encodeEnd() ([]byte, error) {
	deleted := s.deleted
	if deleted == nil {
		deleted = []state.Deleted{}
	}
	text, err := json.Marshal(deleted)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, ",\n\"deleted\":%s,\n\"deletedSince\":%d}\n", text, s.since), nil
}
