package objects

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fvbommel/sortorder"

	"github.com/docker-rd/docker-rd/commands/output"
	"github.com/docker-rd/docker-rd/internal/failure"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A Kind is a kind of object as commands list it.
type Kind struct {
	state.Kind
	singular string
	aliases  []string
	layout   output.Layout
	empty    row // for the header, and to try templates on

	// filters are docker's filters that the mirror can answer, unanswered those that it can't.
	filters, unanswered []string

	// keys returns the keys of all objects that docker lists, in docker's order.
	keys func(v *view, all bool) []string
	// match compiles the filters, which were validated.
	match func(v *view, f filterSet) (func(key string) bool, error)
	// rows returns an object's rows.
	rows func(v *view, key string) []row
	// find is Find.
	find func(s *state.State, word string) []string
	// words returns the completions of objects.
	words func(s *state.State) words
}

// Kinds returns all kinds in the order of help texts.
func Kinds() []*Kind {
	return []*Kind{Containers(), Images(), Volumes(), Networks(), Namespaces()}
}

// ParseKind returns the kind that a word names: its name, singular, or alias.
func ParseKind(word string) (*Kind, error) {
	for _, k := range Kinds() {
		if word == string(k.Kind) || word == k.singular || slices.Contains(k.aliases, word) {
			return k, nil
		}
	}
	return nil, failure.WithCode(&KindError{word}, failure.CodeRefused)
}

// Find returns the keys of the objects that a word may name: those with the name or id, or else
// those whose id begins with it.
func (k *Kind) Find(s *state.State, word string) []string { return k.find(s, word) }

// One returns the key of the only object that a word names. None or several are an error.
func (k *Kind) One(s *state.State, word string) (string, error) {
	found := k.find(s, word)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", failure.WithCode(&NotFoundError{k, word, s}, failure.CodeRefused)
	}
	return "", failure.WithCode(&AmbiguousError{k, word, found}, failure.CodeRefused)
}

// Text returns how messages call the object that a word names.
func (k *Kind) Text(word string) string { return fmt.Sprintf("%s %q", k.singular, word) }

// Filters returns the names of the kind's filters.
func (k *Kind) Filters() []string { return k.filters }

// Aliases returns the short names of the kind.
func (k *Kind) Aliases() []string { return k.aliases }

// byKey returns the key, if there is an object with it.
func byKey[T any](objects map[string]T, key string) []string {
	if _, ok := objects[key]; ok {
		return []string{key}
	}
	return nil
}

// byID returns the key of the object with the id, or the keys that begin with it.
func byID[T any](objects map[string]T, word string) []string {
	if word == "" {
		return nil
	}
	namespace, word := splitKey(word)
	algorithm, hex, ok := strings.Cut(word, ":")
	if !ok {
		hex = word
	}
	var exact, found []string
	for key := range objects {
		of, id := splitKey(key)
		if namespace != "" && namespace != of {
			continue
		}
		if a, digest, digested := strings.Cut(id, ":"); digested {
			if ok && a != algorithm {
				continue
			}
			id = digest
		} else if ok {
			continue
		}
		if id == hex {
			exact = append(exact, key)
		}
		if strings.HasPrefix(id, hex) {
			found = append(found, key)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return found
}

// byName returns the key of the object with the id, or else those with the name, or else those
// whose id begins with the word: docker's order.
func byName[T any](objects map[string]T, word string, name func(T) string) []string {
	if found := byKey(objects, word); found != nil {
		return found
	}
	var found []string
	for key, o := range objects {
		if name(o) == word {
			found = append(found, key)
		}
	}
	if len(found) == 0 {
		return byID(objects, word)
	}
	return found
}

// sortedKeys returns the keys sorted by what by returns for their objects, then by key.
func sortedKeys[T, K any](objects map[string]T, by func(T) K, compare func(a, b K) int) []string {
	type entry struct {
		key string
		by  K
	}
	entries := make([]entry, 0, len(objects))
	for key, o := range objects {
		entries = append(entries, entry{key, by(o)})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(compare(a.by, b.by), cmp.Compare(a.key, b.key))
	})
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys
}

// newestFirst and naturally compare as docker sorts: "a2" comes before "a10".
func newestFirst(a, b time.Time) int { return b.Compare(a) }
func naturally(a, b string) int      { return sortorder.NaturalCompare(a, b) }
