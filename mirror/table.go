package mirror

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/docker-rd/docker-rd/mirror/state"
)

// A table holds the objects of one kind, each with its line in the file.
type table[T any] struct {
	kind    *kind[T]
	entries map[string]*entry[T]
	sorted  []*entry[T] // by key; nil after some came or went
}

type entry[T any] struct {
	key    string
	object T          // without revisions
	meta   state.Meta // its revisions
	line   []byte     // what is written of it
	body   []byte     // the part of line that is the object without revisions
}

func newTable[T any](k *kind[T]) table[T] {
	return table[T]{kind: k, entries: map[string]*entry[T]{}}
}

// objects is a table of any kind.
type objects interface {
	// apply makes the change with the given revision. It returns whether anything changed,
	// and the objects that are gone or were replaced by new ones, with their names. An object that
	// can't be encoded does not hold up the others.
	apply(c Change, revision uint64) (changed bool, gone []Gone, err error)
	write(w *bufio.Writer)
}

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
		meta := *t.kind.meta(&object)
		*t.kind.meta(&object) = state.Meta{}
		body, err := encode(object)
		if err != nil {
			return err
		}
		t.entries[key] = new(newEntry(key, object, meta, body))
	}
	return nil
}

func (t *table[T]) apply(c Change, revision uint64) (changed bool, gone []Gone, err error) {
	for _, g := range c.Gone {
		if e := t.entries[g.Key]; e != nil {
			gone = append(gone, Gone{g.Key, cmp.Or(t.remove(e), g.Name)})
		}
	}
	seen := map[string]bool{}
	var failed []error
	for _, o := range c.Objects {
		object, ok := o.(T)
		if !ok {
			failed = append(failed, fmt.Errorf("a %T is not one of the %s", o, t.kind.name))
			continue
		}
		key := t.kind.key(&object)
		if c.Except[key] || c.Replace && seen[key] { // a list may have it twice
			continue
		}
		seen[key] = true
		if c.Partial && t.entries[key] != nil {
			continue
		}
		ch, err := t.put(key, object, revision)
		if err != nil {
			failed = append(failed, err)
		}
		changed = changed || ch
	}
	if c.Replace {
		for key, e := range t.entries {
			if !seen[key] && !c.Except[key] {
				gone = append(gone, Gone{key, t.remove(e)})
			}
		}
	}
	slices.SortFunc(gone, func(a, b Gone) int { return cmp.Compare(a.Key, b.Key) })
	return changed || len(gone) > 0, gone, errors.Join(failed...)
}

// remove removes an object, and returns its name.
func (t *table[T]) remove(e *entry[T]) (name string) {
	delete(t.entries, e.key)
	t.sorted = nil
	if t.kind.title != nil {
		name = t.kind.title(&e.object)
	}
	return name
}

// put stores an object and returns whether that changed anything.
func (t *table[T]) put(key string, object T, revision uint64) (changed bool, err error) {
	*t.kind.meta(&object) = state.Meta{}
	if old := t.entries[key]; old != nil {
		t.kind.keep(&old.object, &object)
	}
	return t.set(key, object, revision)
}

// edit changes an object, if it exists, and returns whether its encoding differs.
func (t *table[T]) edit(key string, revision uint64, change func(*T)) (changed bool, err error) {
	e := t.entries[key]
	if e == nil {
		return false, nil
	}
	object := e.object
	change(&object)
	return t.set(key, object, revision)
}

// set puts an object in its place and returns whether its encoding differs.
func (t *table[T]) set(key string, object T, revision uint64) (changed bool, err error) {
	body, err := encode(object)
	if err != nil {
		return false, fmt.Errorf("%s %q: %w", t.kind.name, key, err)
	}
	meta := state.Meta{AddedRevision: revision, Revision: revision}
	e := t.entries[key]
	switch {
	case e == nil:
		e = &entry[T]{}
		t.entries[key], t.sorted = e, nil
	case bytes.Equal(e.body, body):
		return false, nil
	default:
		meta.AddedRevision = e.meta.AddedRevision
	}
	*e = newEntry(key, object, meta, body)
	return true, nil
}

// newEntry returns an entry for an object without revisions. Body is its encoding without the
// closing brace.
func newEntry[T any](key string, object T, meta state.Meta, body []byte) entry[T] {
	const room = 90 // for the revisions
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
	return entry[T]{key: key, object: object, meta: meta, line: line, body: line[start:end:end]}
}

// encode returns the encoding of an object without revisions and without the closing brace:
// the revisions follow.
func encode(object any) ([]byte, error) {
	body, err := json.Marshal(object, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return body[:len(body)-1], nil
}

// write writes the kind's field of the state, one object a line, for text tools.
func (t *table[T]) write(w *bufio.Writer) {
	if t.sorted == nil {
		t.sorted = slices.SortedFunc(maps.Values(t.entries), func(a, b *entry[T]) int { return cmp.Compare(a.key, b.key) })
	}
	fmt.Fprintf(w, ",\n%q:{", t.kind.name)
	for n, e := range t.sorted {
		if n > 0 {
			w.WriteByte(',')
		}
		w.WriteByte('\n')
		w.Write(e.line)
	}
	w.WriteByte('}')
}

func appendString(b []byte, s string) []byte {
	quoted, _ := json.Marshal(s)
	return append(b, quoted...)
}
