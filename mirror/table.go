package mirror

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
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
	// changed, and the keys that are gone or were made anew.
	apply(c Change, revision uint64) (changed bool, gone []string, err error)
	// write writes the table as a JSON object.
	write(w *bufio.Writer)
	// all returns the keys, sorted.
	all() []string
	has(key string) bool
}

func (t *table[T]) all() []string {
	keys := make([]string, len(t.sorted))
	for i, e := range t.sorted {
		keys[i] = e.key
	}
	return keys
}

func (t *table[T]) has(key string) bool { return t.entries[key] != nil }

// get returns the object without its revisions.
func (t *table[T]) get(key string) (object T, ok bool) {
	if e := t.entries[key]; e != nil {
		return e.object, true
	}
	return object, false
}

// snapshot returns all objects with their revisions.
func (t *table[T]) snapshot() map[string]T {
	out := make(map[string]T, len(t.entries))
	for key, e := range t.entries {
		object := e.object
		*t.meta(&object) = e.meta
		out[key] = object
	}
	return out
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
		t.entries[key] = newEntry(key, object, meta, body)
	}
	t.sort()
	return nil
}

func (t *table[T]) apply(c Change, revision uint64) (changed bool, gone []string, err error) {
	remove := map[string]bool{}
	for _, key := range c.Gone {
		if t.entries[key] != nil {
			delete(t.entries, key)
			remove[key] = true
		}
	}
	seen := map[string]bool{}
	for _, o := range c.Objects {
		object, ok := o.(T)
		if !ok {
			return changed, gone, fmt.Errorf("a %T is none of the %s", o, t.kind)
		}
		key := t.key(&object)
		if c.Except[key] {
			continue
		}
		seen[key] = true
		ch, err := t.put(key, object, c.Listed, revision)
		if err != nil {
			return changed, gone, err
		}
		changed = changed || ch
	}
	if c.Replace {
		for key := range t.entries {
			if !seen[key] && !c.Except[key] {
				delete(t.entries, key)
				remove[key] = true
			}
		}
	}
	if len(remove) > 0 || len(t.sorted) != len(t.entries) {
		t.sort()
	}
	gone = slices.Sorted(maps.Keys(remove))
	return changed || len(gone) > 0, gone, nil
}

// sort brings sorted up to date where entries came or went.
func (t *table[T]) sort() {
	t.sorted = slices.DeleteFunc(t.sorted, func(e *entry[T]) bool { return t.entries[e.key] != e })
	if len(t.sorted) == len(t.entries) {
		return
	}
	present := make(map[string]bool, len(t.sorted))
	for _, e := range t.sorted {
		present[e.key] = true
	}
	for key, e := range t.entries {
		if !present[key] {
			t.sorted = append(t.sorted, e)
		}
	}
	// Most of it is in order already.
	slices.SortFunc(t.sorted, func(a, b *entry[T]) int { return cmp.Compare(a.key, b.key) })
}

// put stores an object and returns whether it is new or differs.
func (t *table[T]) put(key string, object T, listed bool, revision uint64) (bool, error) {
	*t.meta(&object) = state.Meta{}
	old := t.entries[key]
	if old != nil {
		t.keep(&old.object, &object, listed)
		// Most of what a list brings is as it was, and comparing costs a fifth of
		// encoding. What seems to differ may still have the same encoding.
		if reflect.DeepEqual(old.object, object) {
			return false, nil
		}
	}
	body, err := encode(object)
	if err != nil {
		return false, err
	}
	if old == nil {
		t.entries[key] = newEntry(key, object, state.Meta{AddedRevision: revision, Revision: revision}, body)
		return true, nil
	}
	return t.replace(old, object, body, revision), nil
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

// write puts one object on a line, so that text tools can work with the file too.
func (t *table[T]) write(w *bufio.Writer) {
	sep := "\n"
	w.WriteByte('{')
	for _, e := range t.sorted {
		w.WriteString(sep)
		sep = ",\n"
		w.Write(e.line)
	}
	w.WriteByte('}')
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
