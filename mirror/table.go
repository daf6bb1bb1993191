package mirror

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A table holds the objects of one kind and their encodings.
type table[T any] struct {
	kind    state.Kind
	entries map[string]*entry[T]
	sorted  []*entry[T] // by key
	parts   sections
	// key returns the key of an object, meta a pointer to its revisions.
	key  func(*T) string
	meta func(*T) *state.Meta
	// keep carries over to the new object what the engine does not know; listed is
	// as in [Change].
	keep func(old, new *T, listed bool)
}

type entry[T any] struct {
	key    string
	object T          // without revisions
	meta   state.Meta // its revisions
	line   []byte     // what is written of it, the key included
	body   []byte     // the part of line that is the object without revisions
}

// newEntry returns an entry for an object without revisions whose encoding is body,
// without the closing brace.
func newEntry[T any](key string, object T, meta state.Meta, body []byte) *entry[T] {
	const room = 70 // for the revisions
	line := make([]byte, 0, len(key)+len(body)+room)
	line = append(appendString(line, key), ':')
	start := len(line)
	line = append(line, body...)
	end := len(line)
	line = append(line, `,"addedRevision":`...)
	line = strconv.AppendUint(line, meta.AddedRevision, 10)
	line = append(line, `,"revision":`...)
	line = strconv.AppendUint(line, meta.Revision, 10)
	line = append(line, '}')
	return &entry[T]{key: key, object: object, meta: meta, line: line, body: line[start:end:end]}
}

// objects is a table of any kind.
type objects interface {
	// apply makes the change with the given revision. It returns whether anything
	// changed, and the keys that are gone or were made anew. An object that can't be
	// written keeps none of the others back.
	apply(c Change, revision uint64) (changed bool, gone []string, err error)
	// divide divides the table anew into sections, whose places are not known yet.
	divide()
	// sections returns the sections there are.
	sections() sections
	// length returns how long the text of a section is.
	length(n int) int
	// section appends the text of a section. Without padding, the texts of all make
	// the fields of a JSON object.
	section(text []byte, n int) []byte
	// all returns the keys, sorted.
	all() []string
	has(key string) bool
	size() int
}

func (t *table[T]) all() []string {
	keys := make([]string, len(t.sorted))
	for i, e := range t.sorted {
		keys[i] = e.key
	}
	return keys
}

func (t *table[T]) size() int { return len(t.sorted) }

func (t *table[T]) has(key string) bool { return t.entries[key] != nil }

// get returns the object without its revisions.
func (t *table[T]) get(key string) (object T, ok bool) {
	if e := t.entries[key]; e != nil {
		return e.object, true
	}
	return object, false
}

// load takes over the objects of a state file.
func (t *table[T]) load(from map[string]T) error {
	for key, object := range from {
		meta := *t.meta(&object)
		*t.meta(&object) = state.Meta{}
		body, err := encode(object)
		if err != nil {
			return err
		}
		e := newEntry(key, object, meta, body)
		t.entries[key] = e
		t.sorted = append(t.sorted, e)
	}
	t.sort()
	return nil
}

func (t *table[T]) apply(c Change, revision uint64) (changed bool, gone []string, err error) {
	for _, key := range c.Gone {
		if t.entries[key] != nil {
			gone = append(gone, key)
		}
	}
	t.remove(gone, revision)
	var added []*entry[T]
	var failed []error
	var seen map[string]bool
	if c.Replace {
		seen = make(map[string]bool, len(c.Objects))
	}
	for _, o := range c.Objects {
		object, ok := o.(T)
		if !ok {
			failed = append(failed, fmt.Errorf("a %T is none of the %s", o, t.kind))
			continue
		}
		key := t.key(&object)
		if c.Except[key] {
			continue
		}
		if c.Replace {
			if seen[key] {
				continue // there is one of it, whatever the list says
			}
			seen[key] = true
		}
		made, ch, err := t.put(key, object, c.Listed, revision)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if made != nil {
			added = append(added, made)
		}
		changed = changed || ch
	}
	t.insert(added)
	if c.Replace {
		var other []string
		for key := range t.entries {
			if !seen[key] && !c.Except[key] {
				other = append(other, key)
			}
		}
		t.remove(other, revision)
		gone = append(gone, other...)
	}
	slices.Sort(gone)
	return changed || len(gone) > 0, gone, errors.Join(failed...)
}

// several is how many entries come and go one by one: each moves all behind it.
const several = 32

// insert puts new entries in their places.
func (t *table[T]) insert(added []*entry[T]) {
	for _, e := range added {
		t.parts.mark(e.key, e.meta.Revision)
		if len(added) <= several {
			t.sorted = slices.Insert(t.sorted, t.search(e.key), e)
		}
	}
	if len(added) > several {
		t.sorted = append(t.sorted, added...)
		t.sort()
	}
}

// remove removes entries, which are there.
func (t *table[T]) remove(keys []string, revision uint64) {
	for _, key := range keys {
		delete(t.entries, key)
		t.parts.mark(key, revision)
		if len(keys) <= several {
			i := t.search(key)
			t.sorted = slices.Delete(t.sorted, i, i+1)
		}
	}
	if len(keys) > several {
		t.sorted = slices.DeleteFunc(t.sorted, func(e *entry[T]) bool { return t.entries[e.key] != e })
	}
}

// search returns the place of the first entry whose key is not less.
func (t *table[T]) search(key string) int {
	i, _ := slices.BinarySearchFunc(t.sorted, key, func(e *entry[T], key string) int { return cmp.Compare(e.key, key) })
	return i
}

func (t *table[T]) sort() {
	slices.SortFunc(t.sorted, func(a, b *entry[T]) int { return cmp.Compare(a.key, b.key) })
}

// put stores an object and returns its entry if it is new, which is to be inserted, and
// whether anything changed.
func (t *table[T]) put(key string, object T, listed bool, revision uint64) (made *entry[T], changed bool, err error) {
	*t.meta(&object) = state.Meta{}
	old := t.entries[key]
	if old != nil {
		t.keep(&old.object, &object, listed)
		// Most of what a list brings is as it was, and comparing costs a fifth of
		// encoding. What seems to differ may still have the same encoding.
		if reflect.DeepEqual(old.object, object) {
			return nil, false, nil
		}
	}
	body, err := encode(object)
	if err != nil {
		return nil, false, err
	}
	if old == nil {
		made = newEntry(key, object, state.Meta{AddedRevision: revision, Revision: revision}, body)
		t.entries[key] = made
		return made, true, nil
	}
	return nil, t.replace(old, object, body, revision), nil
}

// edit changes an object and returns whether that made a difference.
func (t *table[T]) edit(key string, revision uint64, change func(*T)) (bool, error) {
	e := t.entries[key]
	if e == nil {
		return false, nil
	}
	object := e.object
	change(&object)
	body, err := encode(object)
	if err != nil {
		return false, err
	}
	return t.replace(e, object, body, revision), nil
}

// replace puts another object in the place of one and returns whether it differs.
func (t *table[T]) replace(e *entry[T], object T, body []byte, revision uint64) bool {
	if bytes.Equal(e.body, body) {
		e.object = object
		return false
	}
	meta := e.meta
	meta.Revision = revision
	*e = *newEntry(e.key, object, meta, body)
	t.parts.mark(e.key, revision)
	return true
}

// encode returns the encoding of an object that has no revisions, without the
// closing brace: they come at its end.
func encode(object any) (body []byte, err error) {
	if m, ok := object.(json.Marshaler); ok {
		body, err = m.MarshalJSON() // json.Marshal would check and copy what this returns
	} else {
		body, err = json.Marshal(object)
	}
	if err != nil {
		return nil, err
	}
	return body[:len(body)-1], nil
}

func (t *table[T]) sections() sections { return t.parts }

func (t *table[T]) divide() {
	t.parts = nil
	size := sectionSize // begin with one
	for _, e := range t.sorted {
		if size >= sectionSize {
			t.parts = append(t.parts, section{first: e.key})
			size = 0
		}
		size += len(e.line)
	}
}

// bounds returns which entries a section has.
func (t *table[T]) bounds(n int) (from, to int) {
	to = len(t.sorted)
	if n > 0 {
		from = t.search(t.parts[n].first)
	}
	if n+1 < len(t.parts) {
		to = t.search(t.parts[n+1].first)
	}
	return from, to
}

func (t *table[T]) length(n int) (size int) {
	from, to := t.bounds(n)
	for _, e := range t.sorted[from:to] {
		size += len(",\n") + len(e.line)
	}
	return size
}

// section puts one object on a line, so that text tools can work with the file too.
func (t *table[T]) section(text []byte, n int) []byte {
	from, to := t.bounds(n)
	for i, e := range t.sorted[from:to] {
		if from+i > 0 {
			text = append(text, ',')
		}
		text = append(text, '\n')
		text = append(text, e.line...)
	}
	return text
}

// appendString appends s as a JSON string. Most keys are ids and need no escapes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
