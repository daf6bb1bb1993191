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
	"github.com/docker-rd/docker-rd/internal/nearest"
	"github.com/docker-rd/docker-rd/mirror/state"
)

// A Kind is a kind of object as commands list it.
type Kind struct {
	state.Kind
	Aliases  []string // short names
	singular string
	layout   output.Layout
	empty    row // for the header, and to try templates on

	Filters    []string // docker's filters that the mirror can answer
	unanswered []string // and those that it can't

	// entries returns all objects.
	entries     func(s *state.State) []entry
	newestFirst bool // docker's order; otherwise by name
	// about returns what a completion says of an object; "" counts as nothing. It may be nil.
	about func(s *state.State, key string) []string
	// match compiles the filters, which were validated.
	match func(v *view, f filterSet) (func(key string) bool, error)
	// rows returns an object's rows.
	rows func(v *view, key string) []row
	// find is Find, if the kind has rules of its own.
	find func(s *state.State, word string) []string
}

// An entry is what the kinds have in common of an object.
type entry struct {
	key     string
	names   []string
	created time.Time
	driver  string
	labels  map[string]string
}

// Kinds returns all kinds in the order of help texts.
func Kinds() []*Kind {
	return []*Kind{Containers(), Images(), Volumes(), Networks(), Namespaces()}
}

// ParseKind returns the kind that a word names: its name, singular, or alias.
func ParseKind(word string) (*Kind, error) {
	for _, k := range Kinds() {
		if word == string(k.Kind) || word == k.singular || slices.Contains(k.Aliases, word) {
			return k, nil
		}
	}
	var names, near []string
	for _, k := range Kinds() {
		names = append(names, string(k.Kind))
		if len(nearest.To(word, append(k.Aliases, string(k.Kind), k.singular))) > 0 {
			near = append(near, string(k.Kind))
		}
	}
	return nil, failure.WithHint(failure.Refuse("unknown kind %q", word),
		"%s", nearest.DidYouMean(near, "", "kinds are "+strings.Join(names, ", ")))
}

// Find returns the keys of the objects that a word may name, in docker's order: the one with the key,
// or else those with the name, or else those whose id begins with the word.
func (k *Kind) Find(s *state.State, word string) []string {
	if k.find != nil {
		return k.find(s, word)
	}
	name := strings.TrimPrefix(word, "/") // as in docker's answers
	keys, named := map[string]bool{}, []string(nil)
	for _, e := range k.entries(s) {
		if e.key == name {
			return []string{name}
		}
		keys[e.key] = true
		if slices.Contains(e.names, name) {
			named = append(named, e.key)
		}
	}
	if named != nil {
		return named
	}
	return byID(keys, name)
}

// One returns the key of the only object that a word names. None or several are an error.
func (k *Kind) One(s *state.State, word string) (string, error) {
	found := k.Find(s, word)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", failure.WithCode(&NotFoundError{k, word, s}, failure.CodeRefused)
	}
	return "", failure.WithHint(failure.Refuse("%d %s begin with %q", len(found), k.Kind, word), "give more of the ID")
}

// A NotFoundError says that a word names no object of an instance.
type NotFoundError struct {
	Kind  *Kind
	Word  string
	State *state.State
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("no such %s: %q", e.Kind.singular, e.Word) }

// Text returns how messages call the object that a word names.
func (k *Kind) Text(word string) string { return fmt.Sprintf("%s %q", k.singular, word) }

// byKey returns the key, if there is an object with it.
func byKey[T any](objects map[string]T, key string) []string {
	if _, ok := objects[key]; ok {
		return []string{key}
	}
	return nil
}

// byID returns the key of the object with the id, or the keys that begin with it.
func byID[T any](objects map[string]T, word string) []string {
	namespace, word := splitKey(word)
	algorithm, hex, ok := strings.Cut(word, ":")
	if !ok {
		hex = word
	}
	if hex == "" {
		return nil // every id begins with that
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

// keys returns the keys of all objects in docker's order.
func (k *Kind) keys(s *state.State) []string {
	entries := k.entries(s)
	slices.SortFunc(entries, func(a, b entry) int {
		if k.newestFirst {
			return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.key, b.key))
		}
		return cmp.Or(naturally(a.names[0], b.names[0]), cmp.Compare(a.key, b.key))
	})
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	return keys
}

// naturally compares as docker sorts: "a2" comes before "a10".
func naturally(a, b string) int { return sortorder.NaturalCompare(a, b) }
