package mirror

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A table holds the objects of one kind and their encodings.
type table[T any] struct {
	kind    state.Kind
	entries map[string]*entry[T]
	keys    []string // of entries, sorted
	// key returns the key of an object, meta a pointer to its revisions.
	key  func(*T) string
	meta func(*T) *state.Meta
	// keep carries over to the new object what the engine does not know; listed is
	// as in [Change].
	keep func(old, new *T, listed bool)
}

type entry[T any] struct {
	object T      // without revisions
	body   []byte // its encoding, without revisions and the closing brace
	meta   state.Meta
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

func (t *table[T]) all() []string { return t.keys }

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
		t.entries[key] = &entry[T]{object, body, meta}
	}
	t.keys = slices.Sorted(maps.Keys(t.entries))
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
	added := false
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
		added = added || ch
	}
	if c.Replace {
		for key := range t.entries {
			if !seen[key] && !c.Except[key] {
				delete(t.entries, key)
				remove[key] = true
			}
		}
	}
	if len(remove) > 0 || len(t.keys) != len(t.entries) {
		t.sortKeys()
	}
	gone = slices.Sorted(maps.Keys(remove))
	return changed || len(gone) > 0, gone, nil
}

// sortKeys brings keys up to date with entries. Few keys are found missing at a
// time, so that most of the order is there already.
func (t *table[T]) sortKeys() {
	known := make(map[string]bool, len(t.keys))
	t.keys = slices.DeleteFunc(t.keys, func(key string) bool {
		known[key] = true
		return t.entries[key] == nil
	})
	if len(t.keys) == len(t.entries) {
		return
	}
	for key := range t.entries {
		if !known[key] {
			t.keys = append(t.keys, key)
		}
	}
	slices.Sort(t.keys)
}

// put stores an object and returns whether it is new or differs.
func (t *table[T]) put(key string, object T, listed bool, revision uint64) (bool, error) {
	*t.meta(&object) = state.Meta{}
	old := t.entries[key]
	if old != nil {
		t.keep(&old.object, &object, listed)
	}
	body, err := encode(object)
	if err != nil {
		return false, err
	}
	if old == nil {
		t.entries[key] = &entry[T]{object, body, state.Meta{AddedRevision: revision, Revision: revision}}
		return true, nil
	}
	if bytes.Equal(old.body, body) {
		return false, nil
	}
	old.object, old.body, old.meta.Revision = object, body, revision
	return true, nil
}

// edit changes an object in place and returns whether that changed anything.
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
	e.object = object
	if bytes.Equal(e.body, body) {
		return false, nil
	}
	e.body, e.meta.Revision = body, revision
	return true, nil
}

// encode returns the encoding of an object that has no revisions, without the
// closing brace: [table.write] puts them at its end.
func encode(object any) ([]byte, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return body[:len(body)-1], nil
}

// write puts one object on a line, so that text tools can work with the file too.
func (t *table[T]) write(w *bufio.Writer) {
	var scratch [64]byte
	sep := "\n"
	w.WriteByte('{')
	for _, key := range t.keys {
		e := t.entries[key]
		w.WriteString(sep)
		sep = ",\n"
		w.Write(appendString(scratch[:0], key))
		w.WriteByte(':')
		w.Write(e.body)
		b := append(scratch[:0], `,"addedRevision":`...)
		b = strconv.AppendUint(b, e.meta.AddedRevision, 10)
		b = append(b, `,"revision":`...)
		b = strconv.AppendUint(b, e.meta.Revision, 10)
		w.Write(append(b, '}'))
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
